//! An aggregate of two columns that differs from row to row in every bit, and that misbehaves where
//! its configuration says: at a certain amount, in merges or in results.

use wasmill_sdk::prelude::*;

/// The columns that it is of.
#[derive(Row, Clone)]
pub struct Sale<'a> {
    amount: Option<i64>,
    shop: &'a str,
    at: EventTime,
}

/// What is kept: numbers, and text of any length.
#[derive(State, Clone, Debug, PartialEq, Default)]
pub struct Kept {
    rows: u64,
    sum: i64,
    /// A hash of each row, all added: no order can be seen of it.
    mix: u64,
    longest: String,
}

/// How it misbehaves.
#[derive(Config, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deed {
    #[default]
    None,
    Refuse,
    Trap,
    Spin,
    Huge,
}

#[derive(Config)]
pub struct Conduct {
    /// With rows of the amount `at`.
    #[config(default = "none")]
    add: Deed,
    /// With accumulators whose sum is divided by `at`.
    #[config(default = "none")]
    merge: Deed,
    /// As `merge`.
    #[config(default = "none")]
    result: Deed,
    #[config(default = 7)]
    at: i64,
}

pub struct Fold(Conduct);

/// SplitMix64's last steps (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Fold {
    fn misbehave(&self, deed: Deed, kept: &mut Kept) {
        match deed {
            Deed::None | Deed::Refuse => {}
            Deed::Trap => panic!("a bad number"),
            Deed::Spin => loop {
                std::hint::black_box(&kept);
            },
            Deed::Huge => kept.longest = "x".repeat(200 << 20),
        }
    }
}

impl Aggregate for Fold {
    const PLUGIN: Plugin = plugin!("fold");
    type Config = Conduct;
    type Row<'a> = Sale<'a>;
    type Accumulator = Kept;
    type Output = Option<String>;

    fn open(config: Conduct, _start: &Start) -> Result<Self, Fault> {
        Ok(Self(config))
    }

    fn create(&self) -> Kept {
        Kept::default()
    }

    fn add(&self, kept: &mut Kept, row: Sale<'_>) -> Result<(), Reject> {
        let amount = row.amount.unwrap_or(0);
        kept.rows += 1;
        kept.sum += amount;
        kept.mix = kept
            .mix
            .wrapping_add(mixed(amount as u64 ^ row.at.0.as_micros() as u64));
        if (row.shop.len(), row.shop) > (kept.longest.len(), &kept.longest) {
            kept.longest = row.shop.into();
        }
        if row.amount == Some(self.0.at) {
            if self.0.add == Deed::Refuse {
                return reject("an amount that nobody pays");
            }
            self.misbehave(self.0.add, kept);
        }
        Ok(())
    }

    fn merge(&self, kept: &mut Kept, other: Kept) {
        kept.rows += other.rows;
        kept.sum += other.sum;
        kept.mix = kept.mix.wrapping_add(other.mix);
        if (other.longest.len(), &other.longest) > (kept.longest.len(), &kept.longest) {
            kept.longest = other.longest;
        }
        if kept.sum % self.0.at == 0 {
            self.misbehave(self.0.merge, kept);
        }
    }

    fn result(&self, mut kept: Kept) -> Option<String> {
        if kept.sum % self.0.at == 0 {
            self.misbehave(self.0.result, &mut kept);
        }
        let Kept {
            rows,
            sum,
            mix,
            longest,
        } = kept;
        (rows > 0).then(|| format!("{rows} {sum} {mix:016x} {longest}"))
    }
}

wasmill_sdk::export_aggregate!(Fold);
