//! Plots as SVG.

use super::{Results, Server, number};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 50.0;

/// A plot.
pub(super) struct Plot {
    pub file: &'static str,
    pub title: &'static str,
    pub svg: String,
}

/// The plots that there are results for.
pub(super) fn all(results: &Results) -> Vec<Plot> {
    let latency = |row, file, title| latencies(results, row, title).map(|svg| Plot { file, title, svg });
    let works = [("produce-64x1", "produce 64 × 1"), ("produce-16x16", "produce 16 × 16"), ("pull", "pull")];
    let cpu = "/server/cpu_us_per_message";
    let title = "CPU of the server per message, µs (logarithmic)";
    [
        bars(results, &works, cpu, title).map(|svg| Plot { file: "cpu.svg", title, svg }),
        latency("open-5k", "latency-5k.svg", "Latency at 5,000 messages a second, µs, from the intended send time"),
        latency("open-20k", "latency-20k.svg", "Latency at 20,000 messages a second, µs, from the intended send time"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn color(server: Server) -> &'static str {
    match server {
        Server::Null => "#888888",
        Server::Ferrocket => "#c2410c",
        Server::Java => "#1d4ed8",
    }
}

/// A logarithmic axis from one power of ten to another.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>) -> Option<Axis> {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        let from = (high > 0.0).then(|| low.log10().floor() as i32)?;
        Some(Axis { from, to: (high.log10().ceil() as i32).max(from + 1) })
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String) {
        for power in self.from..=self.to {
            let value = 10_f64.powi(power);
            let y = self.y(value);
            let _ =
                writeln!(svg, r##"<line x1="{LEFT}" y1="{y:.1}" x2="{}" y2="{y:.1}" stroke="#ddd"/>"##, WIDTH - RIGHT);
            let decimals = usize::try_from(-power).unwrap_or(0);
            text(svg, LEFT - 8.0, y + 4.0, "end", &number(value, decimals));
        }
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{what}</text>"#);
}

fn begin(title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut svg, LEFT, 20.0, "start", title);
    for (at, server) in (0_u8..).zip(Server::ALL) {
        let x = LEFT + 120.0 * f64::from(at);
        let color = color(server);
        let _ = writeln!(svg, r#"<rect x="{x}" y="29" width="12" height="12" fill="{color}"/>"#);
        text(&mut svg, x + 18.0, 39.0, "start", server.title());
    }
    svg
}

/// Percentiles of a row, a line for each server.
fn latencies(results: &Results, row: &str, title: &str) -> Option<String> {
    const STEPS: [(&str, &str); 6] =
        [("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %"), ("p999", "99.9 %"), ("p9999", "99.99 %"), ("max", "max")];
    let values = |server| STEPS.map(|(key, _)| results.median(row, server, &format!("/produce/latency_us/{key}")));
    let lines = Server::ALL.map(|server| (server, values(server)));
    let axis = Axis::around(lines.iter().flat_map(|(_, values)| values.iter().flatten().copied()))?;
    let step = (WIDTH - LEFT - RIGHT) / STEPS.len() as f64;
    let x = |at: usize| LEFT + step * (at as f64 + 0.5);
    let mut svg = begin(title);
    axis.draw(&mut svg);
    for (at, (_, name)) in STEPS.iter().enumerate() {
        text(&mut svg, x(at), HEIGHT - BOTTOM + 20.0, "middle", name);
    }
    for (server, values) in lines {
        let points: Vec<(f64, f64)> =
            values.iter().enumerate().filter_map(|(at, value)| Some((x(at), axis.y((*value)?)))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let color = color(server);
        let _ =
            writeln!(svg, r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#, path.join(" "));
        for (x, y) in points {
            let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#);
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// A figure of several rows, a group of bars for each row.
fn bars(results: &Results, rows: &[(&str, &str)], pointer: &str, title: &str) -> Option<String> {
    let value = |row: &str, server| results.median(row, server, pointer);
    let all = rows.iter().flat_map(|(row, _)| Server::ALL.map(|server| value(row, server))).flatten();
    let axis = Axis::around(all)?;
    let step = (WIDTH - LEFT - RIGHT) / rows.len() as f64;
    let width = step / 5.0;
    let mut svg = begin(title);
    axis.draw(&mut svg);
    for (group, (row, name)) in rows.iter().enumerate() {
        let middle = LEFT + step * (group as f64 + 0.5);
        text(&mut svg, middle, HEIGHT - BOTTOM + 20.0, "middle", name);
        for (at, server) in (0_u8..).zip(Server::ALL) {
            let Some(value) = value(row, server) else { continue };
            let (x, y) = (middle + width * (f64::from(at) - 1.5), axis.y(value));
            let (height, color) = (HEIGHT - BOTTOM - y, color(server));
            let _ = writeln!(
                svg,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{color}"/>"#,
                width - 2.0
            );
            text(&mut svg, x + width / 2.0, y - 4.0, "middle", &number(value, 2));
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}
