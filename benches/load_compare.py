#!/usr/bin/env python3
"""Puts `ccsmoke load` beside other load tools in one run: one server, one core for each client, and the table of what they said.

    cargo build --release && python3 benches/load_compare.py [--seconds 10]

The server is `ccsmoke load answers` on core 0, every client has core 1 for itself. What is not installed is left out and said so
(oha and wrk from a package manager; `pip install locust` for locust).
"""

import argparse
import json
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CCSMOKE = ROOT / "target/release/ccsmoke"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": False})


def pinned(core, command, **more):
    return subprocess.run(["taskset", "-c", str(core), *map(str, command)], capture_output=True, text=True, check=False, **more)


def timed(command, folder):
    """Output, seconds and processor seconds of a client on its core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = pinned(1, command, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout + done.stderr, time.monotonic() - began, cpu


class Server:
    def __init__(self, *args):
        command = ["taskset", "-c", "0", CCSMOKE, "load", "answers", "--port", "0", *args]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def __enter__(self):
        return self.url

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def ccsmoke(folder, url, load, stream):
    (folder / "suite.toml").write_text(
        f'title = "compared"\nscenario = [{{ name = "s", load = {{ {load} }}, mix = [{{ stream = {stream} }}] }}]\n'
        f'[target]\nurl = "{url}"\napi = "openai_chat"\n[data]\nmodels = ["m"]\nprompts.short.texts = ["Hello?"]\n'
    )
    for old in (folder / "out").glob("*"):
        old.unlink()
    command = [CCSMOKE, "load", "--threads", "1", "--undecided", "pass", "--results", folder / "out", "suite.toml"]
    _, took, cpu = timed(command, folder)
    report = json.loads(next((folder / "out").glob("*.json")).read_text())
    figures = next(f for f in report["figures"] if not f["tags"])
    return figures, took, cpu, report["judgement"]["verdict"]


def row(tool, requests, took, cpu, p50, p99, remark=""):
    each = f"{cpu / requests * 1e6:9.1f}" if requests else "        –"
    rate = f"{requests / took:10.0f}" if took else "         –"
    print(f"{tool:<12}{requests:>10}{rate}{each}{p50:>12}{p99:>12}  {remark}")


def heading(text):
    print(f"\n{text}\n{'':<12}{'requests':>10}{'per s':>10}{'us CPU':>9}{'p50':>12}{'p99':>12}")


def millis(micros):
    return f"{micros / 1000:.2f} ms"


def oha(folder, url, body, remark, *more, times="latencyPercentiles"):
    if not shutil.which("oha"):
        return
    command = ["oha", "-m", "POST", "-d", body, "-T", "application/json", "--output-format", "json", "--no-tui", "-c", "64", *more]
    out, took, cpu = timed([*command, f"{url}/v1/chat/completions"], folder)
    said = json.loads(out)
    requests, at = sum(said["statusCodeDistribution"].values()), said[times]
    row("oha", requests, took, cpu, millis(at["p50"] * 1e6), millis(at["p99"] * 1e6), remark)


def wrk(folder, url, connections, seconds, remark):
    if not shutil.which("wrk"):
        return
    script = f'wrk.method = "POST"\nwrk.body = {json.dumps(BODY)}\nwrk.headers["Content-Type"] = "application/json"\n'
    (folder / "post.lua").write_text(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", "post.lua", f"{url}/v1/chat/completions"]
    out, took, cpu = timed(command, folder)
    requests, at = int(re.search(r"(\d+) requests in", out).group(1)), dict(re.findall(r"(50|99)%\s+(\S+)", out))
    row("wrk", requests, took, cpu, at.get("50", "–"), at.get("99", "–"), remark)


def closed(folder, seconds):
    heading("closed loop, 64 connections, answers not streamed")
    with Server("--first", "0ms", "--pieces", "4") as url:
        figures, took, cpu, verdict = ccsmoke(folder, url, f'users = {{ users = 64, for = "{seconds}s" }}', "false")
        e2e = figures["times"]["e2e"]
        row("ccsmoke", figures["counters"]["ok"], seconds, cpu, millis(e2e["p50"]), millis(e2e["p99"]), verdict)
        oha(folder, url, BODY, "reads no answer", "-z", f"{seconds}s")
        wrk(folder, url, 64, seconds, "reads no answer")
        if shutil.which("locust"):
            (folder / "locustfile.py").write_text(
                "from locust import FastHttpUser, task, constant\n"
                "class U(FastHttpUser):\n    wait_time = constant(0)\n    @task\n    def ask(self):\n"
                f"        self.client.post('/v1/chat/completions', data={BODY!r}, headers={{'content-type': 'application/json'}})\n"
            )
            command = ["locust", "--headless", "-u", "64", "-r", "64", "-t", f"{seconds}s", "-H", url, "--json", "--only-summary"]
            out, took, cpu = timed(command, folder)
            start = out.find("[\n")
            said = json.JSONDecoder().raw_decode(out[start:])[0][0] if start >= 0 else {}
            times = sorted((float(k), v) for k, v in said.get("response_times", {}).items())
            row("locust", said.get("num_requests", 0), took, cpu, f"{share(times, 0.5):.1f} ms", f"{share(times, 0.99):.1f} ms")


def share(times, part):
    left = sum(n for _, n in times) * part
    for value, n in times:
        left -= n
        if left <= 0:
            return value
    return 0.0


def streams(folder, seconds):
    heading("open loop, 200 streams/s of 20 pieces; the true first piece comes after 50 ms (time to first piece)")
    with Server("--first", "50ms", "--pieces", "20", "--gap", "5ms") as url:
        figures, took, cpu, verdict = ccsmoke(folder, url, f'arrivals = {{ rate = "200/s", for = "{seconds}s" }}', "true")
        ttft, added = figures["times"]["ttft"], figures["times"]["gw_ttft_added"]
        remark = f"{verdict}; over the server's own stamps: p50 {added['p50']} us, p99 {added['p99']} us"
        row("ccsmoke", figures["counters"]["ok"], seconds, cpu, millis(ttft["p50"]), millis(ttft["p99"]), remark)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True})
        remark = "first byte of the answer, whatever it is; reads no answer"
        oha(folder, url, body, remark, "-q", "200", "-z", f"{seconds}s", times="firstBytePercentiles")


def stall(folder):
    heading("200/s for 20 s, with one stall of 2 s (whole time; every tenth request is due in it: the true p99 is 1.8 s)")

    def server():
        # The stall is planned from the server's start, so everyone has a server of their own.
        return Server("--first", "1ms", "--fault", "stall", "--stall-at", "8s", "--stall-for", "2s")

    with server() as url:
        figures, took, cpu, verdict = ccsmoke(folder, url, 'arrivals = { rate = "200/s", for = "20s" }', "false")
        e2e = figures["times"]["e2e_from_plan"]
        row("ccsmoke", figures["counters"]["ok"], 20, cpu, millis(e2e["p50"]), millis(e2e["p99"]), verdict)
    for remark, more in [("as it comes", []), ("told to correct", ["--latency-correction"])]:
        with server() as url:
            oha(folder, url, BODY, remark, "-q", "200", "-z", "20s", *more)
    with server() as url:
        wrk(folder, url, 4, 20, "a closed loop of 4 connections")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    missing = [tool for tool in ("oha", "wrk", "locust") if not shutil.which(tool)]
    if missing:
        print("not installed, left out:", ", ".join(missing))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        closed(folder, seconds)
        streams(folder, seconds)
        stall(folder)


if __name__ == "__main__":
    main()
