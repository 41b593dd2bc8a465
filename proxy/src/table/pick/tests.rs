use proptest::prelude::*;

use super::*;

fn picks(picker: &Picker<usize>, count: usize) -> Vec<usize> {
    (0..count).map(|_| *picker.pick().expect("some weight is above 0")).collect()
}

fn picker(start: u64, weights: &[u32]) -> Picker<usize> {
    Picker::starting(start, weights.iter().copied().zip(0..))
}

#[test]
fn nothing_to_pick() {
    assert!(Picker::<()>::new([]).pick().is_none());
    assert!(Picker::new([(0, ())]).pick().is_none());
}

#[test]
fn weight_zero_never() {
    assert!(!picks(&picker(0, &[3, 0, 1]), 1000).contains(&1));
    assert!(picks(&picker(0, &[0, 7]), 100).iter().all(|entry| *entry == 1));
}

#[test]
fn equal_weights_take_turns() {
    assert_eq!(picks(&picker(0, &[5, 5, 5]), 6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn five_percent_of_every_thousand() {
    for weights in [[95, 5].as_slice(), &[5, 95], &[90, 5, 5], &[40, 5, 30, 25], &[19, 1]] {
        let small = weights.iter().position(|weight| *weight == 5 || *weight == 1).expect("one small weight");
        let picked = picks(&picker(77, weights), 5000);
        for window in picked.windows(1000) {
            let got = window.iter().filter(|entry| **entry == small).count();
            assert!((49..=51).contains(&got), "{got} of 1000 with weights {weights:?}");
        }
    }
}

#[test]
fn largest_weights_do_not_overflow() {
    let picker = picker(u64::MAX - 50, &[1_000_000; 15].into_iter().chain([999_999]).collect::<Vec<_>>());
    assert_eq!(picks(&picker, 100).len(), 100);
    let picker = self::picker(0, &[u32::MAX, 1]);
    assert!(picks(&picker, 100).iter().all(|entry| *entry == 0));
}

#[test]
fn threads_share_one_sequence() {
    let picker = picker(0, &[3, 1]);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| picks(&picker, 1000).iter().filter(|e| **e == 1).count())).collect();
        threads.into_iter().map(|thread| thread.join().expect("picking does not panic")).collect()
    });
    assert_eq!(counts.iter().sum::<usize>(), 1000);
}

proptest! {
    #[test]
    fn exact_over_a_full_round(weights in prop::collection::vec(0u32..50, 1..9), start in 0u64..1_000_000) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let picked = picks(&picker(start, &weights), total as usize);
        for (entry, weight) in weights.iter().enumerate() {
            prop_assert_eq!(picked.iter().filter(|other| **other == entry).count(), *weight as usize);
        }
    }

    #[test]
    fn of_two_never_more_than_one_off(a in 1u32..1000, b in 1u32..1000, start in 0u64..100_000, run in 1usize..2000) {
        let got = picks(&picker(start, &[a, b]), run).iter().filter(|entry| **entry == 0).count() as f64;
        let share = run as f64 * f64::from(a) / f64::from(a + b);
        prop_assert!((got - share).abs() <= 1.0 + 1e-9, "{} instead of {}", got, share);
    }
}
