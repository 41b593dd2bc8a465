//! `gwtop canary` as a process, against the local API over real HTTP.
//!
//! The cases wait for processes and hardly compute: many run at once, however few cores there are.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use libtest_mimic::{Arguments, Trial};

#[path = "canary/chaos.rs"]
mod chaos;
#[path = "canary/deaths.rs"]
mod deaths;
#[path = "canary/faults.rs"]
mod faults;
#[path = "canary/life.rs"]
mod life;
#[path = "canary/people.rs"]
mod people;
#[path = "canary/plans.rs"]
mod plans;
#[path = "canary/runs.rs"]
mod runs;
#[path = "common/terminal.rs"]
mod terminal;
#[path = "canary/world.rs"]
mod world;

const AT_ONCE: usize = 12;

macro_rules! cases {
    ($($room:ident: $($case:ident)+;)+) => {
        vec![$($(Trial::test(concat!(stringify!($room), "::", stringify!($case)), || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on($room::$case());
            Ok(())
        }),)+)+]
    };
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let cases = cases! {
        deaths:
            an_api_that_stays_away_ends_the_run
            a_replica_that_vanishes_takes_nothing_from_the_verdict
            killed_while_it_waits_is_frozen_or_goes_back
            ctrl_c_in_a_terminal_pauses_and_asks;
        faults:
            somebody_elses_weights_are_left_alone
            an_edit_of_something_else_does_not_disturb
            a_deleted_route_stays_deleted
            a_rollback_waits_for_an_api_that_is_away
            whatever_the_api_answers_a_step_is_written_once
            a_write_whose_answer_is_lost_is_not_made_twice
            a_rollback_is_tried_until_it_works
            a_rollback_that_cannot_be_written_is_said_aloud
            an_api_that_hangs_freezes_the_run
            somebody_elses_weights_are_adopted_or_written_over_if_asked
            backends_that_change_places_and_a_rule_before_ours_do_not_confuse
            a_rule_that_is_renamed_or_loses_its_canary_ends_the_run
            an_edit_just_before_a_write_is_kept_and_the_write_made
            counters_that_begin_anew_lose_nothing
            without_traffic_nothing_advances_and_it_is_said
            a_canary_without_endpoints_is_rolled_back_at_once
            a_loss_of_metrics_is_met_as_asked
            requests_that_still_reach_a_rolled_back_canary_are_shown;
        life:
            what_a_killed_run_left_is_taken_up_by_the_next
            what_a_killed_run_left_can_be_undone
            two_operators_and_a_signal
            a_detached_run_leaves_the_canary_live_and_another_goes_on_from_there
            a_run_is_told_by_others_what_to_do
            who_waits_gets_the_runs_own_exit_code
            a_step_to_approve_waits_and_is_judged_while_it_waits
            killed_at_any_state_a_run_is_undone_or_taken_up
            a_clock_that_jumps_takes_no_route_from_the_living;
        people:
            who_else_writes_the_route_is_named_before_anything_is_written
            webhooks_are_signed_and_may_say_no
            queries_judge_and_no_data_is_never_a_pass
            the_route_has_events_and_a_slow_canary_is_caught
            a_command_and_a_service_can_be_the_check
            metrics_that_blend_the_two_backends_refuse_the_run;
        plans:
            every_kind_of_route_is_stepped
            two_of_many_backends_and_a_rule_by_its_name
            a_tenth_of_a_percent_and_back_to_the_weights_that_were
            several_routes_move_together_or_not_at_all
            a_bad_canary_of_one_route_takes_all_back_and_a_missing_route_refuses_all
            header_and_mirror_come_before_users_and_leave_nothing
            a_promotion_soaks_and_says_what_to_commit
            a_plan_file_has_the_flags_and_the_command_line_wins
            a_dry_run_tells_exposure_and_asks_the_api_if_told_to;
        runs:
            a_healthy_canary_reaches_its_maximum
            a_first_step_that_changes_no_weight_is_a_step
            a_bad_canary_is_rolled_back
            when_both_are_bad_nothing_is_blamed_and_nothing_advances
            without_data_nothing_passes
            checks_that_fail_stop_a_run_before_and_during_it
            a_dry_run_writes_nothing
            what_cannot_be_meant_is_refused_with_what_could
            a_held_run_still_rolls_a_bad_canary_back
            a_run_that_cannot_begin_has_a_last_line_too;
    };
    libtest_mimic::run(&arguments, cases).exit();
}
