//! The curve as a picture.

use std::fmt::Write;

use crate::report::Row;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;

/// The server's time for one call, over the number of pods.
pub(crate) fn svg(rows: &[Row]) -> String {
    const LINES: [(&str, &str); 4] = [
        ("ListContainers", "#1f77b4"),
        ("ListPodSandbox", "#d62728"),
        ("ContainerStatus", "#2ca02c"),
        ("PodSandboxStatus", "#9467bd"),
    ];
    let figure = |row: &Row, name: &str| row.call(name).map_or(0.0, |(server, _)| server);
    let pods = |row: &Row| row.pods as f64;
    let most_pods = rows.iter().map(pods).fold(1.0, f64::max);
    let times = rows
        .iter()
        .flat_map(|row| LINES.map(|(name, _)| figure(row, name)));
    let most = (times.fold(0.1, f64::max) * 10.0).ceil() / 10.0;
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * value / most_pods;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most;
    let mut text = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="18">processor time of dockside for one call, in ms</text>
"#
    );
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let _ = writeln!(
            text,
            r##"<line x1="{LEFT}" x2="{:.1}" y1="{:.1}" y2="{:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{value:.3}</text>"##,
            WIDTH - RIGHT,
            y(value),
            y(value),
            LEFT - 6.0,
            y(value) + 4.0
        );
    }
    for row in rows {
        let _ = writeln!(
            text,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x(pods(row)),
            HEIGHT - BOTTOM + 16.0,
            row.pods
        );
    }
    let _ = writeln!(
        text,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">pods of 2 containers</text>"#,
        x(most_pods / 2.0),
        HEIGHT - 6.0
    );
    for (index, (name, colour)) in LINES.into_iter().enumerate() {
        let points: Vec<_> = rows
            .iter()
            .map(|row| format!("{:.1},{:.1}", x(pods(row)), y(figure(row, name))))
            .collect();
        let line = TOP + 14.0 + 18.0 * index as f64;
        let _ = writeln!(
            text,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/><text x="{:.1}" y="{line:.1}" fill="{colour}">{name}</text>"#,
            points.join(" "),
            WIDTH - RIGHT + 10.0,
        );
    }
    text.push_str("</svg>\n");
    text
}
