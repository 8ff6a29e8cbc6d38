//! Content codings: what a recorded body says once `content-encoding` is undone. Only the judge looks at bodies this way;
//! the tap relays and records them as they are.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::exchange::{Header, header};

/// The most that a body is unpacked to, in bytes; what is behind it is not looked at.
const MAX_DECODED: u64 = 64 * 1024 * 1024;

/// The size of the buffer between a decoder and its input, in bytes.
const BUFFER: usize = 4096;

/// Undoes the content coding that the headers declare: each of those that the client says it accepts.
///
/// # Errors
/// The body is not in the declared coding, or the coding is unknown; in words.
pub fn decoded<'a>(headers: &[Header], body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let coding = header(headers, "content-encoding").unwrap_or("identity").trim().to_ascii_lowercase();
    let wrong = |e: io::Error| format!("content-encoding says {coding}, but the body is not: {e}");
    let decoder: Box<dyn Read + 'a> = match coding.as_str() {
        "" | "identity" => return Ok(Cow::Borrowed(body)),
        "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "br" => Box::new(brotli_decompressor::Decompressor::new(body, BUFFER)),
        "zstd" => Box::new(ruzstd::decoding::StreamingDecoder::new(body).map_err(io::Error::other).map_err(wrong)?),
        other => return Err(format!("content-encoding {other} is not one that can be read here")),
    };
    let mut out = Vec::new();
    // A few bytes can stand for gigabytes.
    decoder.take(MAX_DECODED).read_to_end(&mut out).map_err(wrong)?;
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn coded(value: &str) -> Vec<Header> {
        vec![Header { name: "Content-Encoding".into(), value: value.into() }]
    }

    #[test]
    fn a_packed_body_is_read_and_a_false_label_is_told() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(b"hello").unwrap();
        let packed = writer.finish().unwrap();
        assert_eq!(&*decoded(&coded("gzip"), &packed).unwrap(), b"hello");
        assert_eq!(&*decoded(&[], b"plain").unwrap(), b"plain");
        assert!(decoded(&coded("gzip"), b"plain").unwrap_err().contains("gzip"));
        assert_eq!(&*decoded(&coded("br"), b"\x0b\x02\x80hello\x03").unwrap(), b"hello");
        assert_eq!(&*decoded(&coded("zstd"), b"\x28\xb5\x2f\xfd\x20\x05\x29\0\0hello").unwrap(), b"hello");
        for coding in ["br", "zstd", "compress"] {
            assert!(decoded(&coded(coding), b"plain").unwrap_err().contains(coding));
        }
    }
    #[test]
    fn of_a_body_that_unpacks_without_end_only_the_beginning_is_read() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = writer.finish().unwrap().repeat(66);
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
        assert_eq!(decoded(&coded("gzip"), &bomb).unwrap().len() as u64, MAX_DECODED);
    }
}
