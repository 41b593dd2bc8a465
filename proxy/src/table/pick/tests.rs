use proptest::prelude::*;

use super::*;

const WORKERS: usize = 4;

fn pick(picker: &Picker<usize>, worker: usize) -> usize {
    *picker.pick(worker).expect("some weight is above 0")
}

fn picks(picker: &Picker<usize>, count: usize) -> Vec<usize> {
    (0..count).map(|_| pick(picker, 0)).collect()
}

fn picker(turn: u64, weights: &[u32]) -> Picker<usize> {
    Picker::starting(Start { turn, workers: WORKERS }, weights.iter().copied().zip(0..))
}

#[test]
fn nothing_to_pick() {
    assert!(Picker::<()>::new([]).pick(0).is_none());
    assert!(Picker::new([(0, ())]).pick(0).is_none());
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
fn each_worker_gives_every_entry_its_share_whatever_the_others_do() {
    for weights in [[95, 5].as_slice(), &[50, 50], &[5, 95], &[999, 1]] {
        let picker = picker(3, weights);
        let mut got = [[0; 2]; WORKERS];
        // A worker that gets every other request, one that gets every third, and so on.
        for turn in 0..20_000 {
            let worker = (0..WORKERS).rev().find(|worker| turn % (worker + 2) == 0).unwrap_or(0);
            got[worker][pick(&picker, worker)] += 1;
        }
        let total: u32 = weights.iter().sum();
        for [first, second] in got {
            let share = f64::from(first + second) * f64::from(weights[1]) / f64::from(total);
            assert!((f64::from(second) - share).abs() <= 1.0, "{second} instead of {share} with weights {weights:?}");
        }
    }
}

#[test]
fn five_percent_of_every_thousand_over_all_workers() {
    for weights in [[95, 5].as_slice(), &[5, 95], &[900, 50, 50]] {
        let small = weights.iter().position(|weight| *weight == 5 || *weight == 50).expect("one small weight");
        let picker = picker(77, weights);
        let picked: Vec<_> = (0..5000).map(|turn| pick(&picker, turn % WORKERS)).collect();
        for window in picked.windows(1000) {
            let got = window.iter().filter(|entry| **entry == small).count();
            assert!((49..=51).contains(&got), "{got} of 1000 with weights {weights:?}");
        }
    }
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
