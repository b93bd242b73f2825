//! The samples in Prometheus' text format, for those who scrape without a kubelet.

use std::fmt::{self, Write};

use cri::MetricType;

use super::{
    PodPoints, Points, Value,
    families::{BASE, FAMILIES},
};

/// All samples, with times to the nanosecond: what CRI's whole seconds cannot say.
pub fn exposition(pods: &[PodPoints]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, pods);
    text
}

fn write(text: &mut String, pods: &[PodPoints]) -> fmt::Result {
    let all = || {
        pods.iter()
            .flat_map(|pod| std::iter::once(&pod.pod).chain(&pod.containers))
    };
    let subjects: Vec<(&Points, String)> = all().map(|points| (points, base(points))).collect();
    for family in FAMILIES {
        let mut is_first = true;
        for (points, base) in &subjects {
            let is_of = |point: &&super::Point| std::ptr::eq(point.family, *family);
            for point in points.points.iter().filter(is_of) {
                if is_first {
                    let kind = match family.kind {
                        MetricType::Counter => "counter",
                        MetricType::Gauge => "gauge",
                    };
                    writeln!(text, "# HELP {} {}", family.name, family.help)?;
                    writeln!(text, "# TYPE {} {kind}", family.name)?;
                    is_first = false;
                }
                write!(text, "{}{{{base}", family.name)?;
                for (key, value) in family.labels.iter().zip(&point.labels) {
                    write!(text, ",{key}=\"")?;
                    escape(text, value)?;
                    text.push('"');
                }
                match point.value {
                    Value::Count(count) => writeln!(text, "}} {count}")?,
                    Value::Nanoseconds(time) => {
                        writeln!(text, "}} {}.{:09}", time / 1_000_000_000, time % 1_000_000_000)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The labels that all samples of a subject have.
fn base(points: &Points) -> String {
    let mut text = String::new();
    for (key, value) in BASE.iter().zip(points.subject.labels()) {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{key}=\"");
        let _ = escape(&mut text, value);
        text.push('"');
    }
    text
}

fn escape(text: &mut String, value: &str) -> fmt::Result {
    for c in value.chars() {
        match c {
            '\\' => text.write_str("\\\\")?,
            '"' => text.write_str("\\\"")?,
            '\n' => text.write_str("\\n")?,
            c => text.write_char(c)?,
        }
    }
    Ok(())
}
