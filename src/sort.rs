//! Sorting by one copy of the code: each type and order that goes through the standard library's sorts adds 6 KB to the
//! program.
//!
//! For lists that are short or rarely sorted. A list of thousands that a call sorts is sorted by the standard library.

use std::cmp::Ordering;

/// Sorts stably by `order`.
pub(crate) fn sort_by<T>(items: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    let sorted = sorted_places(items.len(), &|a, b| order(&items[a], &items[b]));
    arrange(sorted, &mut |a, b| items.swap(a, b));
}

/// Sorts stably by a key that is computed for each comparison.
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |a, b| key(a).cmp(&key(b)));
}

fn sorted_places(count: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|&a, &b| order(a, b));
    places
}

/// Moves items along the cycles of a permutation: the one at `places[i]` belongs at `i`.
fn arrange(mut places: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..places.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut places[at], at);
            if from == start || from == at {
                break;
            }
            swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library(items: Vec<(u8, String)>) {
            let (mut ours, mut theirs) = (items.clone(), items);
            sort_by_key(&mut ours, |item| item.0 % 16);
            theirs.sort_by_key(|item| item.0 % 16);
            prop_assert_eq!(&ours, &theirs);
            sort_by(&mut ours, |a, b| b.cmp(a));
            theirs.sort_by(|a, b| b.cmp(a));
            prop_assert_eq!(ours, theirs);
        }
    }
}
