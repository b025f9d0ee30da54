//! Money between the stream's decimals and plain numbers of hundredths.

use wasmill_sdk::Decimal;

/// An amount in hundredths; one beyond 64 bits, which no account holds, stays at the end.
pub(crate) fn minor<const P: u8>(amount: Decimal<P, 2>) -> i64 {
    let end = if amount.unscaled() < 0 {
        i64::MIN
    } else {
        i64::MAX
    };
    i64::try_from(amount.unscaled()).unwrap_or(end)
}

/// An amount of hundredths as a person reads it.
pub(crate) fn amount_text(minor: i64) -> String {
    let amount = Decimal::<38, 2>::from_unscaled(minor.into());
    amount
        .expect("64 bits have less than 38 digits")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_hundredths() {
        let amount: Decimal<12, 2> = "-12.05".parse().unwrap();
        assert_eq!(minor(amount), -1_205);
        assert_eq!(amount_text(-1_205), "-12.05");
        assert_eq!(
            minor(Decimal::<38, 2>::from_unscaled(i128::from(i64::MAX) + 1).unwrap()),
            i64::MAX
        );
    }
}
