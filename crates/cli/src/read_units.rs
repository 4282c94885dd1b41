//! Read units that requests to a DynamoDB table consume.

/// Returns the read units of listing a table with this number of rows, by an eventually consistent Scan.
///
/// Such a Scan consumes half a unit for each 4 KB. A row has at most 1 KB unless its data is large, so this is an upper
/// estimate.
pub fn of_listing(rows: u64) -> f64 {
    rows.div_ceil(4).max(1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_consumes_half_a_unit_for_four_rows() {
        assert_eq!([0, 1, 4, 5, 1000].map(of_listing), [0.5, 0.5, 0.5, 1.0, 125.0]);
    }
}
