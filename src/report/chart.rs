//! Curves of a report: inline SVG for the lines, HTML for the text.
//!
//! The drawing is stretched to the width of the page while strokes and text keep their size, so one chart serves a
//! telephone and a wide screen. All positions are percentages of the plot; nothing is measured in the browser.

use std::fmt::Write;

use crate::report::axis::{Axis, AxisScale, Range};
use crate::report::html::escape;
use crate::report::numbers::{number, round_to};

/// Units of the drawing along x and y; the page stretches them.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;
/// A line has at most so many points: more than the plot has pixels on a common screen.
const MAX_POINTS: usize = 600;
/// Series colours in the style sheet; further series use them again.
const COLOURS: usize = 5;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesStyle {
    /// A noisy value of every step: a smoothed line over the faint raw one.
    Smoothed,
    /// A plain line, for values that are smooth by themselves (a learning rate).
    Line,
    /// Dots joined by a thin line, for values of few steps (validation).
    Dots,
    /// Dots alone, for values that do not follow one another.
    Scatter,
}

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// Points (x, y) by ascending x; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: SeriesStyle,
}

impl Series {
    /// A curve named `label` through `points`.
    pub fn new(label: impl Into<String>, points: Vec<(f64, f64)>, style: SeriesStyle) -> Self {
        Series { label: label.into(), points, style }
    }
}

/// Curves over one pair of axes.
///
/// When all values are above zero, the reader can switch between a linear and a logarithmic y axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// What the chart shows, e.g. `Loss`.
    pub title: String,
    /// Name and unit of the x axis, e.g. `step`.
    pub x_label: String,
    /// Name and unit of the y axis, e.g. `nats per pixel`; may be empty when the title says it.
    pub y_label: String,
    /// The scale that it opens with; values of zero or below fall back to linear.
    pub scale: AxisScale,
    /// The scale of the x axis; with [`AxisScale::Log`] all x are above zero.
    pub x_scale: AxisScale,
    /// The curves.
    pub series: Vec<Series>,
}

impl Chart {
    /// The chart as an HTML `<figure>`; `id` must be unique on the page. `None` without a finite point.
    pub(super) fn to_html(&self, id: &str) -> Option<String> {
        let curves: Vec<Curve> = self.series.iter().enumerate().filter_map(|(i, s)| Curve::new(i, s)).collect();
        let xs = Range::of(curves.iter().flat_map(|curve| curve.raw.iter().map(|point| point.0)))?;
        let ys = Range::of(curves.iter().flat_map(|curve| curve.raw.iter().map(|point| point.1)))?;
        let logarithmic = ys.low > 0.0;
        let by_ratio = if self.x_scale == AxisScale::Log { " data-log" } else { "" };
        let mut html = format!("<figure class=\"chart\" data-x=\"{} {}\"{by_ratio}>\n", xs.low, xs.high);
        let _ = writeln!(html, "<figcaption>{}</figcaption>", escape(&self.title));
        if logarithmic {
            for (scale, name, text) in [(AxisScale::Linear, "linear", "linear"), (AxisScale::Log, "log", "log")] {
                let checked = if scale == self.scale { " checked" } else { "" };
                let _ = write!(
                    html,
                    "<input type=\"radio\" class=\"pick-{name}\" name=\"{id}\" id=\"{id}-{name}\"{checked}>\
                     <label for=\"{id}-{name}\">{text}<span class=\"hidden\"> y axis</span></label>"
                );
            }
        }
        html.push_str(&legend(&curves));
        if !self.y_label.is_empty() {
            let _ = writeln!(html, "<p class=\"axis-name\">{}</p>", escape(&self.y_label));
        }
        html.push_str(&self.plot(
            &curves,
            Axis::new(xs, self.x_scale),
            Axis::new(ys, AxisScale::Linear),
            "plot-linear",
        ));
        if logarithmic {
            html.push_str(&self.plot(&curves, Axis::new(xs, self.x_scale), Axis::new(ys, AxisScale::Log), "plot-log"));
        }
        let _ = writeln!(html, "<p class=\"axis-name x\">{}</p>", escape(&self.x_label));
        html.push_str(&data(&curves));
        html.push_str("</figure>\n");
        Some(html)
    }

    fn plot(&self, curves: &[Curve], x: Axis, y: Axis, class: &str) -> String {
        let mut html = format!(
            "<div class=\"plot {class}\" tabindex=\"0\" role=\"group\" aria-label=\"{}, arrow keys read values\">\n",
            escape(&self.title)
        );
        let mut grid = String::new();
        for (value, text) in y.ticks(5) {
            let place = y.place(value);
            let _ = write!(html, "<span class=\"tick y\" style=\"bottom:{:.2}%\">{text}</span>", 100.0 * place);
            let _ = write!(grid, "M0 {:.1}H{WIDTH}", HEIGHT * (1.0 - place));
        }
        for (value, text) in x.ticks(6) {
            let _ = write!(html, "<span class=\"tick x\" style=\"left:{:.2}%\">{text}</span>", 100.0 * x.place(value));
        }
        let summary = curves.iter().map(Curve::in_words).collect::<Vec<_>>().join(" ");
        let _ = write!(
            html,
            "\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}: {}\">\n\
             <path class=\"grid\" d=\"{grid}\"/>\n",
            escape(&self.title),
            escape(&summary)
        );
        for curve in curves {
            html.push_str(&curve.to_svg(&x, &y));
        }
        html.push_str("</svg><i class=\"cursor\"></i>\n</div>\n");
        html
    }
}

/// A series ready to be drawn: finite points, and for a smoothed one the smooth line.
struct Curve<'a> {
    label: &'a str,
    style: SeriesStyle,
    colour: usize,
    raw: Vec<(f64, f64)>,
    line: Vec<(f64, f64)>,
}

impl<'a> Curve<'a> {
    fn new(index: usize, series: &'a Series) -> Option<Self> {
        let raw: Vec<(f64, f64)> =
            series.points.iter().copied().filter(|point| point.0.is_finite() && point.1.is_finite()).collect();
        let line = match series.style {
            SeriesStyle::Smoothed => thin(&smooth(&raw)),
            SeriesStyle::Line | SeriesStyle::Dots => thin(&raw),
            SeriesStyle::Scatter => raw.clone(),
        };
        let curve = Curve { label: &series.label, style: series.style, colour: index % COLOURS, raw, line };
        (!curve.raw.is_empty()).then_some(curve)
    }

    fn to_svg(&self, x: &Axis, y: &Axis) -> String {
        let colour = format!("s{}", self.colour);
        let path = |points: &[(f64, f64)], class: &str| {
            let mut d = String::new();
            for (i, &(px, py)) in points.iter().enumerate() {
                let (px, py) = (WIDTH * x.place(px), HEIGHT * (1.0 - y.place(py)));
                // A step of length zero with round ends is a dot that keeps its shape under stretching.
                let _ = match class {
                    "dots" => write!(d, "M{px:.1} {py:.1}h0"),
                    _ => write!(d, "{}{px:.1} {py:.1}", if i == 0 { "M" } else { "L" }),
                };
            }
            format!("<path class=\"{class} {colour}\" d=\"{d}\"/>\n")
        };
        match self.style {
            SeriesStyle::Smoothed => path(&envelope(&self.raw), "raw") + &path(&self.line, "line"),
            SeriesStyle::Line => path(&self.line, "line"),
            SeriesStyle::Dots => path(&self.line, "joint") + &path(&self.line, "dots"),
            SeriesStyle::Scatter => path(&self.line, "dots"),
        }
    }

    /// The curve in a sentence, for those who do not see it.
    fn in_words(&self) -> String {
        let (Some(first), Some(last)) = (self.line.first(), self.line.last()) else { return String::new() };
        if self.style == SeriesStyle::Scatter {
            return format!("{}: {} points.", self.label, self.line.len());
        }
        let [y0, x0, y1, x1] = [first.1, first.0, last.1, last.0].map(number);
        format!("{} from {y0} at {x0} to {y1} at {x1}.", self.label)
    }
}

fn legend(curves: &[Curve]) -> String {
    let mut html = "<ul class=\"legend\" aria-live=\"polite\"><li class=\"at\" hidden></li>".to_string();
    for curve in curves {
        let last = curve.line.last().filter(|_| curve.style != SeriesStyle::Scatter);
        let last = last.map_or(String::new(), |point| number(point.1));
        let smoothed = if curve.style == SeriesStyle::Smoothed { " <small>smoothed</small>" } else { "" };
        let _ = write!(
            html,
            "<li><i class=\"key s{}\"></i>{}{smoothed} <b>{last}</b></li>",
            curve.colour,
            escape(curve.label)
        );
    }
    html + "</ul>\n"
}

/// The lines' points for the read-out under the pointer: per curve a list of x and a list of y.
fn data(curves: &[Curve]) -> String {
    let list = |values: Vec<f64>| {
        let texts: Vec<String> = values.iter().map(|value| format!("{}", round_to(*value, 5))).collect();
        format!("[{}]", texts.join(","))
    };
    let unzip = |curve: &Curve| {
        let (x, y): (Vec<f64>, Vec<f64>) = curve.line.iter().copied().unzip();
        format!("[{},{}]", list(x), list(y))
    };
    let curves: Vec<String> = curves.iter().map(unzip).collect();
    format!("<script type=\"application/json\">[{}]</script>\n", curves.join(","))
}

/// Averages each point with its neighbours on both sides, so that the line does not lag behind: a triangular window
/// over about a fifteenth of the points, cut off at the ends.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let radius = points.len() / 60;
    // A box average of a box average is the triangle.
    box_average(&box_average(points, radius), radius)
}

fn box_average(points: &[(f64, f64)], radius: usize) -> Vec<(f64, f64)> {
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, point| {
        *sum += point.1;
        Some(*sum)
    }));
    let average = |(i, point): (usize, &(f64, f64))| {
        let (from, to) = (i.saturating_sub(radius), (i + radius + 1).min(points.len()));
        (point.0, (sums[to] - sums[from]) / (to - from) as f64)
    };
    points.iter().enumerate().map(average).collect()
}

/// At most [`MAX_POINTS`] of `points`, evenly spaced, the first and the last among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    (0..MAX_POINTS).map(|i| points[i * (points.len() - 1) / (MAX_POINTS - 1)]).collect()
}

/// Like [`thin`], but each group of points gives its lowest and its highest, so that no spike is lost.
fn envelope(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let extremes = |group: &[(f64, f64)]| {
        let mut both: Vec<(f64, f64)> =
            group.iter().min_by(by_y).into_iter().chain(group.iter().max_by(by_y)).copied().collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    };
    points.chunks(points.len().div_ceil(MAX_POINTS / 2)).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    #[test]
    fn smoothing_removes_noise_without_lagging_behind() {
        let slope = |x: usize| 5.0 - 0.01 * x as f64;
        let noisy: Vec<(f64, f64)> =
            (0..600).map(|x| (x as f64, slope(x) + if x % 2 == 0 { 1.0 } else { -1.0 })).collect();
        let line = smooth(&noisy);
        // An alternating noise of 1 in a window of 21 leaves at most 1/21, squared by the second pass.
        assert!((30..570).all(|x| abs_diff_eq!(line[x].1, slope(x), epsilon = 0.01)));
        assert!([0, 599].iter().all(|&x| abs_diff_eq!(line[x].1, slope(x), epsilon = 0.2)));
        assert_eq!(smooth(&noisy[..3]), noisy[..3], "a short curve stays as it is");
    }

    #[test]
    fn long_curves_are_thinned_but_keep_their_ends_and_spikes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (x as f64, 1.0)).collect();
        points[54_321].1 = 99.0;
        let (line, raw) = (thin(&points), envelope(&points));
        assert!(line.len() <= MAX_POINTS && raw.len() <= MAX_POINTS);
        assert_eq!((line[0], line[line.len() - 1]), (points[0], points[99_999]));
        assert!(raw.contains(&(54_321.0, 99.0)));
        assert!(raw.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    #[test]
    fn a_log_axis_is_offered_only_for_values_above_zero() {
        let chart = |y| Chart {
            series: vec![Series::new("d", vec![(1.0, y), (2.0, 3.0)], SeriesStyle::Line)],
            ..Chart::default()
        };
        assert!(chart(0.5).to_html("c").unwrap().contains("plot-log"));
        let linear_only = Chart { scale: AxisScale::Log, ..chart(-0.5) }.to_html("c").unwrap();
        assert!(linear_only.contains("plot-linear") && !linear_only.contains("plot-log"));
    }

    #[test]
    fn a_chart_without_a_finite_point_is_left_out() {
        let nothing = Series::new("loss", vec![(1.0, f64::NAN)], SeriesStyle::Smoothed);
        assert_eq!(Chart { series: vec![nothing], ..Chart::default() }.to_html("c"), None);
    }

    #[test]
    fn drawing_stays_inside_the_plot_and_names_are_escaped() {
        let points: Vec<(f64, f64)> = (1..50).map(|x| (x as f64, (x as f64).sin() + 2.0)).collect();
        let chart = Chart {
            title: "a<b".into(),
            series: vec![Series::new("x&y", points, SeriesStyle::Dots)],
            ..Chart::default()
        };
        let html = chart.to_html("c").unwrap();
        assert!(html.contains("a&lt;b") && html.contains("x&amp;y") && !html.contains("a<b"));
        for dot in html.split("<path class=\"dots s0\" d=\"").nth(1).unwrap().split('"').next().unwrap().split("h0") {
            let Some((x, y)) = dot.strip_prefix('M').and_then(|dot| dot.split_once(' ')) else { continue };
            assert!(
                (0.0..=WIDTH).contains(&x.parse().unwrap()) && (0.0..=HEIGHT).contains(&y.parse().unwrap()),
                "{dot}"
            );
        }
    }
}
