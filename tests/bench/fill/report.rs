//! The figures, and whether they will do.

use std::{fmt, time::Duration};

use crate::{
    Took, engine,
    machine::{self, Memory, Times},
    options::Options,
};

/// Goals, and what is not forgiven: a busy or small machine may miss the goals themselves.
const RATIO: Limit = Limit {
    goal: 1.10,
    most: 1.30,
};
const RESIDENT: Limit = Limit {
    goal: 20.0,
    most: 25.0,
};

struct Limit {
    goal: f64,
    most: f64,
}

impl Limit {
    const fn judge(&self, value: f64) -> &'static str {
        if value <= self.goal {
            "reached"
        } else if value <= self.most {
            "missed"
        } else {
            "MISSED BY FAR"
        }
    }
}

/// With fewer rows of pods than this the wait for a single pod's network counts, which otherwise is
/// other pods' time: the ratio says nothing about a node that fills.
const ROWS: usize = 4;

/// What was measured so far.
pub(crate) struct Report {
    head: String,
    /// Whether the ratio means anything.
    filled: bool,
    calls: String,
    dockside: Vec<(Took, Times, Memory)>,
    engine: Vec<Took>,
    /// How long lists took while the node was filled and emptied, in order of length.
    pub(crate) relists: [Vec<Duration>; 2],
}

impl Report {
    pub(crate) fn new(options: &Options, calls: String) -> Self {
        let Options {
            pods,
            rounds,
            parallel,
        } = options;
        let head = format!(
            "{pods} pods of 2 containers, {parallel} at a time, {rounds} rounds; Engine {}; {}",
            engine(),
            machine::describe()
        );
        println!("{head}");
        Self {
            head,
            filled: *pods >= ROWS * parallel,
            calls,
            dockside: Vec::new(),
            engine: Vec::new(),
            relists: [Vec::new(), Vec::new()],
        }
    }

    pub(crate) fn through_dockside(&mut self, took: Took, times: Times, memory: Memory) {
        self.dockside.push((took, times, memory));
    }

    pub(crate) fn by_the_engine(&mut self, took: Took) {
        self.engine.push(took);
    }

    pub(crate) fn last_round(&self) -> String {
        let ((dockside, times, memory), engine) =
            (self.dockside.last().unwrap(), self.engine.last().unwrap());
        format!(
            "round {}: dockside {:.2} s, engine {:.2} s, ratio {:.3}; \
             machine busy {:.1} and {:.1} s, dockside {:.2} s, plugins {:.2} s; RSS {:.1} MB; load {}",
            self.engine.len(),
            dockside.wall.as_secs_f64(),
            engine.wall.as_secs_f64(),
            ratio(dockside, engine),
            dockside.machine.as_secs_f64(),
            engine.machine.as_secs_f64(),
            times.own.as_secs_f64(),
            times.children.as_secs_f64(),
            memory.resident,
            machine::load(),
        )
    }

    fn ratio(&self) -> f64 {
        median(
            self.dockside
                .iter()
                .zip(&self.engine)
                .map(|((dockside, ..), engine)| ratio(dockside, engine)),
        )
    }

    fn resident(&self) -> f64 {
        self.memory(|memory| memory.resident)
    }

    fn memory(&self, part: impl Fn(&Memory) -> f64) -> f64 {
        self.dockside
            .iter()
            .map(|(.., memory)| part(memory))
            .fold(0.0, f64::max)
    }

    pub(crate) fn acceptable(&self) -> bool {
        (!self.filled || self.ratio() <= RATIO.most) && self.resident() <= RESIDENT.most
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |part: fn(&(Took, Times, Memory)) -> Duration| {
            median(self.dockside.iter().map(|round| part(round).as_secs_f64()))
        };
        let (ratio, resident) = (self.ratio(), self.resident());
        writeln!(f, "\n{} (now {})", self.head, machine::load())?;
        writeln!(f, "Medians of the rounds:")?;
        writeln!(
            f,
            "  through dockside      {:>7.2} s",
            seconds(|(took, ..)| took.wall)
        )?;
        writeln!(
            f,
            "  by the Engine alone   {:>7.2} s",
            median(self.engine.iter().map(|took| took.wall.as_secs_f64()))
        )?;
        writeln!(
            f,
            "  ratio                 {ratio:>7.3}    goal {:.2}: {}",
            RATIO.goal,
            if self.filled {
                RATIO.judge(ratio)
            } else {
                "too few pods to judge"
            }
        )?;
        writeln!(
            f,
            "  processor time        {:>7.2} s  of dockside, {:.2} s of the CNI plugins",
            seconds(|(_, times, _)| times.own),
            seconds(|(_, times, _)| times.children)
        )?;
        writeln!(
            f,
            "Memory of dockside with all pods, the most of the rounds:\n  \
             resident              {resident:>7.1} MB goal {:.0}: {} ({:.1} anonymous; peak {:.1})",
            RESIDENT.goal,
            RESIDENT.judge(resident),
            self.memory(|memory| memory.anonymous),
            self.memory(|memory| memory.peak),
        )?;
        writeln!(f, "Both lists together, asked for again and again:")?;
        for (name, took) in ["fills", "is emptied"].iter().zip(&self.relists) {
            let of_all = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            writeln!(
                f,
                "  while the node {name:<11} median {:.1} ms, p90 {:.1} ms, the slowest of {} {:.1} ms",
                of_all(50),
                of_all(90),
                took.len(),
                of_all(100),
            )?;
        }
        write!(f, "Engine calls of one pod: {}", self.calls)
    }
}

fn ratio(dockside: &Took, engine: &Took) -> f64 {
    dockside.wall.as_secs_f64() / engine.wall.as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        f64::midpoint(values[half - 1], values[half])
    }
}
