//! What whoever puts the memory to sleep needs of it: is there anything new, one chunk of the cycle
//! after the other, a batch of what hooks have left, and giving memory back.
//!
//! When a cycle runs, and what becomes of a step that fails, is not known here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::dispatch::CallError;
use crate::memory::consolidation::cycle::{self, Course};
use crate::memory::consolidation::step::{CHUNK, Report, Step};
use crate::memory::ingest::drain::{self, Drained, Told};
use crate::memory::model::time::Moment;
use crate::memory::session::digest::CycleTotals;
use crate::memory::session::{SessionState, first_turn};
use crate::memory::store::changes::News;
use crate::memory::store::writer::Follow;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::Group;

/// The session that a night's cycle is told of as: nobody asked for it.
const SESSION: &str = "-";

/// A way to an open memory, see [`Memory::night`](super::Memory::night). All but
/// [`Night::has_news`] and [`Night::brought`] wait for the store's writer: they are for a worker.
#[derive(Clone, Debug)]
pub struct Night {
    pub(crate) follow: Follow,
    pub(crate) session_state: Arc<SessionState>,
    /// The store's folder.
    pub(crate) folder: Arc<Path>,
    pub(crate) news: Arc<News>,
    pub(crate) clock: fn() -> Moment,
}

/// A cycle under way. One that is dropped is taken up by the next [`Night::begin`].
#[derive(Debug)]
pub struct Cycle(Course);

/// What came of a chunk.
#[derive(Debug)]
pub enum Chunk {
    /// It is done.
    Ran {
        /// To be gone on with.
        cycle: Cycle,
        /// Its step, if that is done with it.
        completed: Option<StepReport>,
        /// What became of hooks' files.
        told: Vec<Told>,
    },
    /// The cycle is at its end, and this is what it has brought.
    Ended(CycleTotals),
    /// Nothing of it was stored; the next cycle goes on from there.
    Failed(StepReport, CallError),
}

/// What a step did in one cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Its name.
    pub step: &'static str,
    /// How long it worked, in seconds.
    pub duration_sec: f64,
    /// What it did, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl StepReport {
    /// Of a step that did nothing.
    pub fn nothing(step: &'static str) -> StepReport {
        StepReport { step, duration_sec: 0.0, counts: BTreeMap::new() }
    }
}

impl Night {
    /// Steps of a cycle that has no index to make.
    pub const STEPS: usize = Step::USUAL.len();

    /// Is there anything to sleep on: something told that the last finished cycle has not seen, or an index
    /// that is to be made anew? From any thread, at once.
    pub fn has_news(&self) -> bool {
        self.news.are_there()
    }

    /// Takes up the cycle that was cut short, or begins one.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(&self) -> Result<Cycle, CallError> {
        let news = self.news.clone();
        self.ask(move |group| Course::begin(group, &news)).map(Cycle)
    }

    /// Runs the cycle's next chunk, after which the writer is free for others; behind the last one, its end.
    pub fn chunk(&self, cycle: Cycle) -> Chunk {
        let Cycle(mut course) = cycle;
        let (news, folder, now) = (self.news.clone(), self.folder.clone(), (self.clock)());
        // What the job holds when it fails is gone with it.
        let (step, so_far) = (course.step(), course.has_begun().then(|| report(course.reports().last())).flatten());
        let outcome = self.ask(move |group| {
            let ran = course.chunk(group, &news, &folder, now)?;
            if ran.is_none() {
                course.end(group, SESSION, now)?;
            }
            Ok((course, ran))
        });
        match outcome {
            Ok((mut course, Some(mut ran))) => {
                let told = ran.take_told();
                let completed = report(course.ran(&ran));
                Chunk::Ran { cycle: Cycle(course), completed, told }
            }
            Ok((course, None)) => {
                course.ended(&self.news, &self.session_state.digest);
                Chunk::Ended(cycle::totals(course.reports()))
            }
            Err(error) => {
                let step = step.map_or("end", |step| step.name());
                Chunk::Failed(so_far.unwrap_or_else(|| StepReport::nothing(step)), error)
            }
        }
    }

    /// Takes in a small batch of what hooks have left, at `now_us` microseconds since 1970 in UTC.
    ///
    /// # Errors
    /// The database's; nothing was taken then. What is wrong with a file is no error.
    pub fn drain(&self, now_us: i64) -> Result<Drained, CallError> {
        let now = Moment(now_us);
        if let Some(next) = drain::idle(&self.folder, now) {
            return Ok(Drained { next, ..Drained::default() });
        }
        let folder = self.folder.clone();
        self.ask(move |group| drain::chunk(group, &folder, now, Instant::now() + CHUNK))
    }

    /// A session was opened, at `at_us` microseconds since 1970 in UTC: its first recall brings what was
    /// said last elsewhere, and the quiet window is learned from it.
    ///
    /// # Errors
    /// The database's; nothing is remembered of it then.
    pub fn session_opened(&self, session_id: &str, at_us: i64) -> Result<(), CallError> {
        let (session, at) = (session_id.to_owned(), Moment(at_us));
        self.ask(move |group| Ok(first_turn::keep_opened(group.connection, &session, at)?))?;
        self.session_state.first_turns.opened(session_id, at);
        Ok(())
    }

    /// When sessions were opened since `since_us`, in microseconds since 1970 in UTC, the first one first.
    ///
    /// # Errors
    /// The database's.
    pub fn session_starts(&self, since_us: i64) -> Result<Vec<i64>, CallError> {
        self.ask(move |group| Ok(first_turn::opened_since(group.connection, Moment(since_us))?))
    }

    /// What finished cycles have brought that no digest has shown yet. From any thread, at once.
    pub fn brought(&self) -> Option<CycleTotals> {
        self.session_state.digest.brought()
    }

    /// Has the writer let go of the memory that it keeps for later, and waits until it has, or never will.
    ///
    /// # Errors
    /// The store's.
    pub fn give_back(&self) -> Result<(), CallError> {
        let (rest, rested) = WriterHandover::new();
        self.ask(move |group| {
            group.want_handover(rest);
            Ok(())
        })?;
        // Nothing is ever sent: this waits for the other end to go.
        rested.recv().ok();
        Ok(())
    }

    /// Has the writer do something, and waits until it is committed.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (sender, outcome) = channel();
        // Nobody listens any more only where nobody is left to.
        self.follow.submit(task(0, work, move |outcome| drop(sender.send(outcome))));
        outcome.recv().unwrap_or_else(|_| Err(CallError::failed("the store's writer has gone")))
    }
}

impl Cycle {
    /// The step that is next, if that has not begun yet.
    pub fn new_step(&self) -> Option<&'static str> {
        if self.0.has_begun() { None } else { self.step() }
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.0.steps()
    }

    /// Steps that are done.
    pub fn steps_done(&self) -> usize {
        self.0.steps_done()
    }

    /// The step that it is at; none where only its end is left.
    pub fn step(&self) -> Option<&'static str> {
        self.0.step().map(|step| step.name())
    }
}

fn report(report: Option<&Report>) -> Option<StepReport> {
    report.map(|report| StepReport {
        step: report.step(),
        duration_sec: report.duration_sec(),
        counts: report.counts().by_name().clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    /// Runs a whole cycle; gives its steps and what it has brought.
    fn sleep(night: &Night) -> (Vec<&'static str>, CycleTotals) {
        let mut cycle = night.begin().unwrap();
        let mut steps = Vec::new();
        loop {
            match night.chunk(cycle) {
                Chunk::Ran { cycle: next, completed, .. } => {
                    steps.extend(completed.map(|report| report.step));
                    cycle = next;
                }
                Chunk::Ended(brought) => return (steps, brought),
                Chunk::Failed(report, error) => panic!("{report:?} {error}"),
            }
        }
    }

    fn told(bench: &Bench) {
        for session in ["a", "b", "c"] {
            bench.capture(&format!("guitar lessons in session {session}"), json!({"session_id": session}));
        }
    }

    #[test]
    fn what_a_cycle_makes_is_no_news_and_what_is_told_is() {
        let mut bench = Bench::new();
        assert!(!bench.memory.night().has_news());
        told(&bench);
        assert!(bench.memory.night().has_news());
        let (steps, brought) = sleep(&bench.memory.night());
        assert_eq!(steps, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
        assert_eq!((brought.episodes_processed, brought.schemas_induced_tier0), (3, 1));
        assert!(!bench.memory.night().has_news());
        bench.restart();
        assert!(!bench.memory.night().has_news(), "after a restart");
        bench.capture("guitar lessons in session a", json!({"session_id": "a"}));
        assert!(!bench.memory.night().has_news(), "it was there already");
        bench.capture("something that is new", json!({}));
        assert!(bench.memory.night().has_news());
        bench.restart();
        assert!(bench.memory.night().has_news(), "after a restart");
        bench.ok("memory_consolidate", json!({}));
        assert!(!bench.memory.night().has_news(), "memory_consolidate is a cycle too");
    }

    #[test]
    fn a_cycle_cut_short_is_taken_up_and_begins_anew_where_news_came() {
        let mut bench = Bench::new();
        told(&bench);
        let night = bench.memory.night();
        let mut cycle = night.begin().unwrap();
        while cycle.step() != Some("decay") {
            let Chunk::Ran { cycle: next, .. } = night.chunk(cycle) else { panic!("it is not at its end") };
            cycle = next;
        }
        bench.restart();
        let night = bench.memory.night();
        assert!(night.has_news());
        assert_eq!(night.begin().unwrap().step(), Some("decay"));
        bench.capture("something that is new", json!({}));
        assert_eq!(sleep(&night).0.len(), 6);
        assert!(!night.has_news());
        assert_eq!(night.begin().unwrap().step(), Some("drain"));
    }

    #[test]
    fn news_that_come_while_a_cycle_runs_are_the_next_ones() {
        let bench = Bench::new();
        told(&bench);
        let night = bench.memory.night();
        let mut cycle = night.begin().unwrap();
        while cycle.step() != Some("optimize") {
            let Chunk::Ran { cycle: next, .. } = night.chunk(cycle) else { panic!("it is not at its end") };
            cycle = next;
        }
        bench.capture("something that is new", json!({}));
        while let Chunk::Ran { cycle: next, .. } = night.chunk(cycle) {
            cycle = next;
        }
        assert!(night.has_news());
    }

    #[test]
    fn a_step_that_fails_says_which_and_a_closed_store_too() {
        let bench = Bench::new();
        told(&bench);
        bench.sql("INSERT INTO meta VALUES ('step_induce', 'no number')");
        let night = bench.memory.night();
        let mut cycle = night.begin().unwrap();
        let (report, error) = loop {
            match night.chunk(cycle) {
                Chunk::Ran { cycle: next, .. } => cycle = next,
                Chunk::Failed(report, error) => break (report, error),
                Chunk::Ended(_) => panic!("it was to fail"),
            }
        };
        assert_eq!(report.step, "induce");
        assert!(error.message.contains("value"), "{error}");
        assert_eq!(night.begin().unwrap().step(), Some("induce"));
        assert!(night.give_back().is_ok());
        drop(bench);
        assert!(night.begin().unwrap_err().message.contains("closing"));
    }
}
