//! From a load as it is written to when requests are sent.

use toml::Spanned;

use super::super::load_file::{ArrivalsFile, LoadFile, ProcessKind, UsersFile};
use super::super::{Adjust, Load, Requests};
use super::Resolver;
use crate::file_error::FileError;
use crate::load::arrivals::{Curve, Process};
use crate::load::conversation;

impl Resolver<'_> {
    pub(super) fn load(&self, file: &LoadFile) -> Result<Load, FileError> {
        Ok(match file {
            LoadFile::Arrivals(arrivals) => {
                let curve = self.rates(arrivals)?;
                let file = arrivals.get_ref();
                Load::Open(match (file.process, &file.shape) {
                    (ProcessKind::Constant, None) => Process::Even(curve),
                    (ProcessKind::Poisson, None) => Process::Poisson(curve),
                    (ProcessKind::Gamma, Some(shape)) if (0.01..=1000.0).contains(shape.get_ref()) => {
                        Process::Gamma { curve, shape: *shape.get_ref() }
                    }
                    (ProcessKind::Gamma, Some(shape)) => {
                        return Err(self.at(shape.span(), "the shape of `gamma` is between 0.01 and 1000"));
                    }
                    (ProcessKind::Gamma, None) => {
                        return Err(self.at(arrivals.span(), "`process = \"gamma\"` needs a `shape`"));
                    }
                    (_, Some(shape)) => return Err(self.at(shape.span(), "only `process = \"gamma\"` has a `shape`")),
                })
            }
            LoadFile::Trace(trace) => {
                let name = &trace.get_ref().file;
                let times = conversation::trace(&self.source.path(name.get_ref()), &self.beside(name)?)?;
                Load::Open(Process::Trace(times.into_iter().map(|t| t.mul_f64(self.adjust.time)).collect()))
            }
            LoadFile::Users(users) => {
                let file = users.get_ref();
                let requests = match (file.each, file.total) {
                    (None, None) => Requests::Any,
                    (Some(each), None) if each > 0 => Requests::Each(each),
                    (None, Some(total)) if total > 0 => Requests::Total(self.scaled_users(total)),
                    _ => return Err(self.at(users.span(), "users have `each` or `total`, which is at least 1")),
                };
                Load::Users { curve: self.users(users)?, requests }
            }
            LoadFile::Sessions(sessions) => {
                let span = sessions.span();
                let sessions = sessions.get_ref();
                if [sessions.sessions, sessions.workers, sessions.concurrency].contains(&0) {
                    return Err(self.at(span, "`sessions`, `workers` and `concurrency` are at least 1"));
                }
                Load::Sessions {
                    sessions: self.scaled_users(sessions.sessions),
                    workers: sessions.workers,
                    concurrency: sessions.concurrency,
                    lasts: sessions.r#for.map(|t| t.0.mul_f64(self.adjust.time)),
                }
            }
            LoadFile::Once(once) => {
                if once.get_ref().times == 0 {
                    return Err(self.at(once.span(), "`times` is at least 1"));
                }
                Load::Once { times: once.get_ref().times }
            }
            LoadFile::Steps(steps) => {
                if steps.get_ref().times == 0 {
                    return Err(self.at(steps.span(), "`times` is at least 1"));
                }
                Load::Steps { times: steps.get_ref().times }
            }
        })
    }

    fn rates(&self, arrivals: &Spanned<ArrivalsFile>) -> Result<Curve, FileError> {
        let file = arrivals.get_ref();
        let Adjust { rate, time, .. } = *self.adjust;
        let curve = match (file.r#for, file.stages.is_empty()) {
            (Some(lasts), true) => Curve::new(file.rate.0 * rate, [(file.rate.0 * rate, lasts.0.mul_f64(time))]),
            (None, false) => {
                let stages = file.stages.iter().map(|s| (s.to.0 * rate, s.over.0.mul_f64(time)));
                Curve::new(file.rate.0 * rate, stages)
            }
            _ => return Err(self.at(arrivals.span(), "arrivals have either `rate` and `for`, or `stages`")),
        };
        if curve.total() <= 0.0 {
            return Err(self.at(arrivals.span(), "these arrivals come to no request at all"));
        }
        Ok(curve)
    }

    fn users(&self, users: &Spanned<UsersFile>) -> Result<Curve, FileError> {
        let file = users.get_ref();
        let time = self.adjust.time;
        let scaled = |users| f64::from(self.scaled_users(users));
        let curve = match (file.r#for, file.stages.is_empty()) {
            (Some(lasts), true) => Curve::new(scaled(file.users), [(scaled(file.users), lasts.0.mul_f64(time))]),
            (None, false) => {
                let stages = file.stages.iter().map(|s| (scaled(s.to), s.over.0.mul_f64(time)));
                Curve::new(scaled(file.users), stages)
            }
            _ => return Err(self.at(users.span(), "users have either `users` and `for`, or `stages`")),
        };
        if curve.peak() < 1.0 || curve.duration().is_zero() {
            return Err(self.at(users.span(), "these users come to no request at all"));
        }
        Ok(curve)
    }

    /// So many users, scaled; at least one where there was one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    fn scaled_users(&self, users: u32) -> u32 {
        if users == 0 { 0 } else { ((f64::from(users) * self.adjust.rate).round() as u32).max(1) }
    }
}
