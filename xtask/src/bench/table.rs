//! The one table: a line for each quantity and contestant, aligned for a terminal or as Markdown.

use super::contestant::Contestant;
use super::sample::Samples;

/// What a contestant is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The lower bound.
    Floor,
    /// Ours.
    Hilum,
    /// An init for one child, in C.
    Init,
    /// Anything else there is instead.
    Peer,
}

impl Role {
    const fn is_peer(self) -> bool {
        matches!(self, Role::Init | Role::Peer)
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Microseconds,
    Kilobytes,
    Wakeups,
    PerSecond,
    /// Of one processor core.
    Percent,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Microseconds => "us",
            Unit::Kilobytes => "kB",
            Unit::Wakeups => "",
            Unit::PerSecond => "/s",
            Unit::Percent => "%",
        }
    }

    /// A number as short as it can be without saying less than was measured.
    fn show(self, value: f64) -> String {
        match self {
            Unit::Wakeups => format!("{value:.0}"),
            Unit::Microseconds if value >= 10_000.0 => format!("{:.1} ms", value / 1000.0),
            Unit::PerSecond => format!("{value:.0} {}", self.name()),
            Unit::Microseconds | Unit::Kilobytes if value >= 100.0 => format!("{value:.0} {}", self.name()),
            Unit::Microseconds | Unit::Kilobytes | Unit::Percent => format!("{value:.1} {}", self.name()),
        }
    }
}

/// What hilum is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Nothing: the quantity is there to be known.
    None,
    /// Below the best C init, for this row.
    BelowInits { who: &'static str },
    /// At most so many times the best peer, for this row.
    TimesBest { who: &'static str, times: f64 },
    /// At most so many times the floor, for this row.
    TimesFloor { who: &'static str, times: f64 },
    /// At most this, for every row of ours but one.
    AtMost { most: f64, except: &'static str },
    /// At most this, for one row.
    RowAtMost { who: &'static str, most: f64 },
    /// At most so many times another row.
    TimesRow { who: &'static str, times: f64, other: &'static str },
}

/// One contestant's part in a measure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    name: &'static str,
    role: Role,
    /// The samples, or why there are none.
    samples: Result<Samples, String>,
    note: String,
}

impl Row {
    pub(super) fn of(contestant: &Contestant, samples: Samples) -> Row {
        Row::named(contestant.name, contestant.role, samples)
    }

    pub(super) fn named(name: &'static str, role: Role, samples: Samples) -> Row {
        Row { name, role, samples: Ok(samples), note: String::new() }
    }

    /// One that has nothing to show, and why.
    pub(super) fn none(contestant: &Contestant, why: &str) -> Row {
        Row::absent(contestant.name, contestant.role, why)
    }

    pub(super) fn absent(name: &'static str, role: Role, why: &str) -> Row {
        Row { name, role, samples: Err(why.to_owned()), note: String::new() }
    }

    /// Adds what a reader should know about this row.
    pub(super) fn noted(mut self, note: &str) -> Row {
        note.clone_into(&mut self.note);
        self
    }

    fn median(&self) -> Option<f64> {
        self.samples.as_ref().ok().and_then(Samples::median)
    }
}

/// One quantity, of everyone who has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    name: &'static str,
    unit: Unit,
    rows: Vec<Row>,
    goal: Goal,
}

impl Measure {
    pub(super) fn new(name: &'static str, unit: Unit, rows: Vec<Row>, goal: Goal) -> Measure {
        Measure { name, unit, rows, goal }
    }

    /// The best median among those that `fits`: the least, but of rates the greatest.
    fn best(&self, fits: impl Fn(&Row) -> bool) -> Option<f64> {
        let medians = self.rows.iter().filter(|row| fits(row)).filter_map(Row::median);
        if self.unit == Unit::PerSecond { medians.max_by(f64::total_cmp) } else { medians.min_by(f64::total_cmp) }
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).and_then(Row::median)
    }

    /// What the goal says about a row, and whether it is met.
    fn judge(&self, row: &Row) -> Option<(String, bool)> {
        let value = row.median()?;
        let named = |who: &str| row.name == who;
        match self.goal {
            Goal::BelowInits { who } if named(who) => {
                let best = self.best(|row| row.role == Role::Init)?;
                Some((format!("below the best C init, {}", self.unit.show(best)), value < best))
            }
            Goal::TimesBest { who, times } if named(who) => {
                let best = self.best(|row| row.role.is_peer())?;
                Some((format!("<= {times} x the best peer"), value <= best * times))
            }
            Goal::TimesFloor { who, times } if named(who) => {
                let floor = self.best(|row| row.role == Role::Floor)?;
                Some((format!("<= {times} x the floor"), value <= floor * times))
            }
            Goal::AtMost { most, except } if row.role == Role::Hilum && !named(except) => {
                Some((format!("<= {}", self.unit.show(most)), value <= most))
            }
            Goal::RowAtMost { who, most } if named(who) => {
                Some((format!("<= {}", self.unit.show(most)), value <= most))
            }
            Goal::TimesRow { who, times, other } if named(who) => {
                Some((format!("<= {times} x {other}"), value <= self.of(other)? * times))
            }
            Goal::None
            | Goal::BelowInits { .. }
            | Goal::TimesBest { .. }
            | Goal::TimesFloor { .. }
            | Goal::AtMost { .. }
            | Goal::RowAtMost { .. }
            | Goal::TimesRow { .. } => None,
        }
    }

    fn lines(&self) -> Vec<[String; COLUMNS]> {
        let floor = self.best(|row| row.role == Role::Floor);
        let peer = self.best(|row| row.role.is_peer());
        let ratio = |value: f64, other: Option<f64>| {
            other.filter(|other| *other > 0.0).map_or(String::new(), |other| format!("{:.2}x", value / other))
        };
        let mut lines = Vec::new();
        for row in &self.rows {
            let line = match &row.samples {
                Err(why) => [
                    self.name.into(),
                    row.name.into(),
                    "n/a".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                    why.clone(),
                ],
                Ok(samples) => {
                    let value = samples.median().unwrap_or_default();
                    // Of rates it would be nearly the best.
                    let p95 = samples.p95().filter(|_| samples.len() > 1 && self.unit != Unit::PerSecond);
                    let goal =
                        self.judge(row).map(|(goal, met)| format!("{} {goal}", if met { "met" } else { "MISSED" }));
                    let remark: Vec<String> =
                        goal.into_iter().chain([row.note.clone()]).filter(|part| !part.is_empty()).collect();
                    [
                        self.name.into(),
                        row.name.into(),
                        self.unit.show(value),
                        p95.map_or(String::new(), |p95| self.unit.show(p95)),
                        ratio(value, floor),
                        ratio(value, peer),
                        remark.join("; "),
                    ]
                }
            };
            lines.push(line);
        }
        lines
    }
}

const COLUMNS: usize = 7;
const TITLES: [&str; COLUMNS] = ["what", "who", "median", "p95", "/ floor", "/ best peer", "goal, remark"];
/// Columns of numbers are aligned at their end.
const NUMBERS: [bool; COLUMNS] = [false, false, true, true, true, true, false];

/// The table, below a line that says what it depends on.
pub(super) fn render(measures: &[Measure], heading: &str, markdown: bool) -> String {
    let titles = TITLES.map(String::from);
    let groups: Vec<Vec<[String; COLUMNS]>> = measures.iter().map(Measure::lines).collect();
    let mut widths = [0; COLUMNS];
    for line in groups.iter().flatten().chain([&titles]) {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = format!("{heading}\n\n");
    let mut write = |line: &[String; COLUMNS]| {
        let cells = line.iter().zip(widths).zip(NUMBERS);
        let cells = cells
            .map(|((cell, width), number)| if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        let cells: Vec<String> = cells.collect();
        let line = if markdown { format!("| {} |", cells.join(" | ")) } else { cells.join("  ").trim_end().to_owned() };
        text.push_str(&line);
        text.push('\n');
    };
    write(&titles);
    if markdown {
        write(&std::array::from_fn(|at| {
            let (width, number) = (widths.get(at).copied().unwrap_or(1), NUMBERS.get(at) == Some(&true));
            format!("{:-<1$}{2}", "", width.saturating_sub(1), if number { ":" } else { "-" })
        }));
    }
    for group in &groups {
        if !markdown {
            write(&std::array::from_fn(|_| String::new()));
        }
        group.iter().for_each(&mut write);
    }
    text.push_str(&verdict(measures));
    text
}

/// How many goals were met, and which were not.
fn verdict(measures: &[Measure]) -> String {
    let mut met = 0_usize;
    let mut missed = Vec::new();
    for measure in measures {
        for row in &measure.rows {
            match measure.judge(row) {
                Some((_, true)) => met += 1,
                Some((goal, false)) => missed.push(format!("  MISSED {}, {}: {goal}", measure.name, row.name)),
                None => {}
            }
        }
    }
    let mut text = format!("\n{met} goals met, {} missed\n", missed.len());
    for line in missed {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(hilum: f64, goal: Goal) -> Measure {
        let row = |name, role, value| Row::named(name, role, Samples::exactly(value));
        let rows = vec![
            row("floor", Role::Floor, 100.0),
            row("hilum init", Role::Hilum, hilum),
            row("tini", Role::Init, 250.0),
            row("runsv", Role::Peer, 200.0),
            Row::absent("s6", Role::Peer, "does not"),
        ];
        Measure::new("start", Unit::Microseconds, rows, goal)
    }

    fn met(hilum: f64, goal: Goal) -> Option<bool> {
        let measure = measure(hilum, goal);
        measure.rows.iter().find_map(|row| measure.judge(row)).map(|(_, met)| met)
    }

    #[test]
    fn goals_are_judged_at_their_edge() {
        let who = "hilum init";
        assert_eq!(met(249.0, Goal::BelowInits { who }), Some(true));
        assert_eq!(met(250.0, Goal::BelowInits { who }), Some(false));
        assert_eq!(met(220.0, Goal::TimesBest { who, times: 1.1 }), Some(true));
        assert_eq!(met(221.0, Goal::TimesBest { who, times: 1.1 }), Some(false));
        assert_eq!(met(150.0, Goal::TimesFloor { who, times: 1.5 }), Some(true));
        assert_eq!(met(151.0, Goal::TimesFloor { who, times: 1.5 }), Some(false));
        assert_eq!(met(1.0, Goal::AtMost { most: 0.0, except: "" }), Some(false));
        assert_eq!(met(1.0, Goal::AtMost { most: 0.0, except: who }), None);
        assert_eq!(met(12.5, Goal::TimesRow { who, times: 0.05, other: "tini" }), Some(true));
        assert_eq!(met(12.6, Goal::TimesRow { who, times: 0.05, other: "tini" }), Some(false));
    }

    #[test]
    fn the_best_rate_is_the_greatest() {
        let rows = |unit| {
            let peers = [("slow", 100.0), ("fast", 900.0)];
            let rows = peers.map(|(name, value)| Row::named(name, Role::Peer, Samples::exactly(value)));
            Measure::new("calls", unit, rows.to_vec(), Goal::None).best(|row| row.role.is_peer())
        };
        assert_eq!((rows(Unit::PerSecond), rows(Unit::Microseconds)), (Some(900.0), Some(100.0)));
    }

    #[test]
    fn the_table_says_what_is_missed_and_what_is_missing() {
        let text = render(&[measure(260.0, Goal::BelowInits { who: "hilum init" })], "a machine", false);
        let line = text.lines().find(|line| line.contains("hilum init")).unwrap_or_default();
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["start", "hilum init", "260 us", "2.60x", "1.30x", "MISSED below the best C init, 250 us"]);
        assert!(text.contains("n/a") && text.contains("does not"), "{text}");
        assert!(
            text.ends_with("0 goals met, 1 missed\n  MISSED start, hilum init: below the best C init, 250 us\n"),
            "{text}"
        );
    }

    #[test]
    fn markdown_has_the_same_number_of_cells_in_every_line() {
        let text = render(&[measure(1.0, Goal::None)], "a machine", true);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 7);
        assert!(lines.iter().all(|line| line.matches('|').count() == COLUMNS + 1), "{text}");
    }
}
