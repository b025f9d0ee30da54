//! Text in columns, for people.

/// Rows of words under a heading.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers, which stand at the right.
    numbers: Vec<bool>,
}

impl Table {
    /// A table; the heading of a column of numbers begins with `#`.
    pub(super) fn new(heading: &[&str]) -> Self {
        let plain = heading
            .iter()
            .map(|word| word.trim_start_matches('#').to_owned());
        Self {
            rows: vec![plain.collect()],
            numbers: heading.iter().map(|word| word.starts_with('#')).collect(),
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.push(cells.into());
    }

    pub(super) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, each with its end.
    pub(super) fn text(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.numbers.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if at > 0 {
                    line.push_str("  ");
                }
                let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
                match self.numbers.get(at) {
                    Some(true) => line = line + &blanks + cell,
                    _ => line = line + cell + &blanks,
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A number of bytes, as people say it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut size, mut unit) = (count as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A span of time, as people say it.
pub(super) fn span(us: i64) -> String {
    let seconds = us as f64 / 1e6;
    match us.max(0) / 1_000_000 {
        0 => format!("{:.0} ms", us.max(0) as f64 / 1e3),
        1..60 => format!("{seconds:.1} s"),
        whole @ 60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        whole @ 3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        whole => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["name", "#keys"]);
        table.row(["a".into(), "7".into()]);
        table.row(["longer".into(), "12345".into()]);
        assert_eq!(
            table.text(),
            "name     keys\na           7\nlonger  12345\n"
        );
    }

    #[test]
    fn sizes_and_times_are_plain() {
        assert_eq!(
            [bytes(7), bytes(2048), bytes(5 << 30)],
            ["7 B", "2.0 KiB", "5.0 GiB"]
        );
        let told = [900, 1_500_000, 61_000_000, 7_260_000_000, 90_000_000_000].map(span);
        assert_eq!(told, ["1 ms", "1.5 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]);
    }
}
