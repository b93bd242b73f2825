//! The figures, and whether they will do.

use std::fmt;

use crate::{
    calls::Costs,
    machine::{self, Memory},
    node::Node,
};

/// The goals: milliseconds of the server's processor time for one call, at 250 containers.
const CALLS: [(&str, f64); 4] = [
    ("ListPodSandbox", 0.3),
    ("ListContainers", 0.3),
    ("PodSandboxStatus", 0.1),
    ("ContainerStatus", 0.1),
];
/// Percent of a core while polled.
const SHARE: f64 = 0.5;
/// Pods, and MB that are resident with them.
const RESIDENT: [(usize, f64); 2] = [(50, 15.0), (125, 25.0)];

/// What is not forgiven: so many times the goal.
const FAR: f64 = 2.0;

/// What was measured at one number of pods.
pub(crate) struct Row {
    pub(crate) pods: usize,
    pub(crate) calls: Costs,
    /// Percent of a core of the server while it is polled.
    pub(crate) server: f64,
    /// The same of dockerd, and when nobody asks anything.
    pub(crate) engine: Option<f64>,
    pub(crate) engine_idle: Option<f64>,
    pub(crate) memory: Memory,
}

impl Row {
    /// What was measured of a call: the server's time, and the client's.
    pub(crate) fn call(&self, name: &str) -> Option<(f64, f64)> {
        let (_, cost) = self.calls.iter().find(|(call, _)| *call == name)?;
        cost.map(|cost| (cost.server, cost.client))
    }

    /// What was to be reached at this number of pods: its name, the figure and the goal.
    fn goals(&self) -> Vec<(String, f64, f64)> {
        let mut goals = Vec::new();
        if self.pods <= 125 {
            let calls = CALLS.iter();
            goals.extend(
                calls.filter_map(|(name, goal)| Some(((*name).to_owned(), self.call(name)?.0, *goal))),
            );
            goals.push(("processor".into(), self.server, SHARE));
        }
        let resident = RESIDENT.iter().find(|(pods, _)| self.pods <= *pods);
        goals.extend(resident.map(|(_, goal)| ("memory".into(), self.memory.resident, *goal)));
        goals
    }
}

/// All that was measured.
pub(crate) struct Report {
    head: String,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(node: &Node) -> Self {
        let head = format!("{}; {}", node.describe(), machine::describe());
        println!("{head}");
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: Row) {
        println!("{row}");
        self.rows.push(row);
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn acceptable(&self) -> bool {
        let mut goals = self.rows.iter().flat_map(Row::goals);
        goals.all(|(_, figure, goal)| figure <= FAR * goal)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{share:.2}"));
        writeln!(
            f,
            "\n{} pods of 2 containers: polled {:.2} % of a core, dockerd {} % (idle {} %), resident {:.1} MB ({:.1} anonymous)",
            self.pods,
            self.server,
            share(self.engine),
            share(self.engine_idle),
            self.memory.resident,
            self.memory.anonymous,
        )?;
        for (name, cost) in &self.calls {
            match cost {
                Some(cost) => writeln!(
                    f,
                    "  {name:<20} server {:>7.3} ms   client {:>7.3} ms",
                    cost.server, cost.client
                )?,
                None => writeln!(f, "  {name:<20} not offered")?,
            }
        }
        for (name, figure, goal) in self.goals() {
            if figure > goal {
                writeln!(f, "  MISSED: {name} {figure:.3}, goal {goal}")?;
            }
        }
        Ok(())
    }
}

/// The curve, as plain data.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (now {})", self.head, machine::load())?;
        let names: Vec<_> = self
            .rows
            .first()
            .map(|row| row.calls.iter().map(|(name, _)| *name).collect())
            .unwrap_or_default();
        write!(f, "pods\tpolled %\tdockerd %\tidle %\tresident MB")?;
        for name in &names {
            write!(f, "\t{name} ms")?;
        }
        for row in &self.rows {
            let text = |figure: Option<f64>, digits: usize| {
                figure.map_or_else(|| "-".into(), |figure| format!("{figure:.digits$}"))
            };
            write!(
                f,
                "\n{}\t{:.2}\t{}\t{}\t{:.1}",
                row.pods,
                row.server,
                text(row.engine, 2),
                text(row.engine_idle, 2),
                row.memory.resident
            )?;
            for name in &names {
                write!(f, "\t{}", text(row.call(name).map(|(server, _)| server), 3))?;
            }
        }
        Ok(())
    }
}
