"""What Gatebook promises its users, and the tests that prove it. docs/guarantees.md is written from this table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """A promise in the user's words, and the tests that prove it (`file::test`)."""

    says: str
    tests: tuple[str, ...]


PROMISES: dict[str, Promise] = {
    "first-five-minutes": Promise(
        "One command runs the night shift over a bundled inbox and says what waits for you and how to decide it.",
        ("e2e/test_night.py::test_the_demo_ends_with_what_waits_and_the_command_that_decides_it",),
    ),
    "any-client": Promise(
        "Every server works in both protocol eras, over stdio, streamable HTTP and SSE, also for clients that probe.",
        (
            "e2e/test_distribution.py::test_what_config_prints_starts_in_any_folder",
            "e2e/test_distribution.py::test_the_inspector_lists_and_calls_every_entry_of_mcp_json",
            "e2e/test_distribution.py::test_the_inspector_reaches_the_addresses_with_the_token_and_not_without",
            "shared/test_stdio_transport.py::test_a_client_that_discovers_and_then_initializes_is_served",
            "shared/test_http_transport.py::test_the_official_client_calls_tools_as_the_principal_of_the_token",
        ),
    ),
    "claude-code": Promise(
        "The real Claude Code works with what `gatebook config claude-code` prints, and can drive the night.",
        (
            "clients/test_claude_code.py::test_a_reply_that_claude_code_sends_waits_for_a_person_and_reaches_nobody",
            "clients/test_claude_code.py::test_a_reply_is_public_once_a_person_approved_it",
            "clients/test_nightly_claude.py::test_claude_code_works_the_night_with_our_tools_only_and_the_ledger_reports_it",
            "clients/test_nightly_claude.py::test_without_claude_code_the_message_says_so",
        ),
    ),
    "foreign-tools": Promise(
        "Tools of any other server, and those built into Claude Code, can be put behind the same people: the client "
        "runs a call once after a yes, also in a later session, and nothing when the broker or the hook is down.",
        (
            "clients/test_claude_code_permissions.py::test_what_policy_allows_runs_and_what_it_never_allows_does_not",
            "clients/test_claude_code_permissions.py::test_a_call_that_waits_for_nobody_is_pending_and_the_same_call_runs_once_after_a_yes",
            "clients/test_claude_code_permissions.py::test_a_call_blocks_until_a_person_says_yes_and_then_runs",
            "clients/test_claude_code_permissions.py::test_a_call_blocks_until_a_person_says_no_and_the_model_reads_why",
            "clients/test_claude_code_permissions.py::test_a_call_blocks_until_a_person_changed_it_and_runs_with_what_they_wrote",
            "clients/test_claude_code_permissions.py::test_a_call_that_was_changed_meanwhile_runs_once_with_what_a_person_wrote",
            "clients/test_claude_code_permissions.py::test_a_deferred_call_runs_with_what_a_person_wrote_when_it_is_resumed",
            "clients/test_claude_code_permissions.py::test_an_allow_rule_does_not_get_past_the_prompt",
            "clients/test_claude_code_permissions.py::test_a_deferred_call_survives_the_session_and_is_decided_when_it_is_resumed",
            "clients/test_claude_code_permissions.py::test_nothing_runs_while_the_hook_cannot_be_reached",
            "clients/test_claude_code_permissions.py::test_nothing_runs_when_the_hook_is_refused_or_broken",
            "clients/test_claude_code_permissions.py::test_nothing_runs_while_the_broker_cannot_be_reached",
            "clients/test_claude_code_permissions.py::test_nothing_runs_when_the_database_is_gone",
            "clients/test_claude_code_permissions.py::test_no_answer_that_does_not_fit_lets_a_call_run",
        ),
    ),
    "foreign-calls-bound": Promise(
        "A yes to a foreign call is for one caller, one tool, one exact input and one call, and no grant for an effect "
        "of Gatebook's own. Whatever goes wrong is a denial in the form that the client reads.",
        (
            "servers/test_permission_prompt.py::test_a_yes_is_used_at_most_once_in_whatever_order_things_happen",
            "servers/test_permission_prompt.py::test_a_yes_lets_one_call_pass_however_often_that_call_asks",
            "servers/test_permission_prompt.py::test_a_yes_is_for_nobody_else_and_for_no_other_input_or_tool",
            "servers/test_permission_prompt.py::test_a_yes_to_a_foreign_call_is_no_grant_for_an_effect_of_ours",
            "servers/test_permission_prompt.py::test_a_grant_for_an_effect_of_ours_lets_no_foreign_call_pass",
            "servers/test_permission_prompt.py::test_a_tool_that_only_looks_like_ours_does_not_pass",
            "servers/test_permission_prompt.py::test_no_input_is_allowed_that_neither_a_person_nor_policy_allowed",
            "servers/test_permission_prompt.py::test_a_defect_is_a_denial_that_tells_nothing_of_it",
            "servers/test_foreign_edits.py::test_a_yes_from_before_a_restored_copy_lets_nothing_pass_and_the_call_asks_again",
            "servers/test_claude_code_hook.py::test_what_is_no_input_of_the_hook_is_denied",
            "servers/test_claude_code_hook.py::test_no_body_is_allowed_that_neither_a_person_nor_policy_allowed",
            "servers/test_claude_code_hook.py::test_the_command_denies_what_it_cannot_judge",
            "servers/test_claude_code_hook.py::test_the_prompt_gives_the_same_answer_to_the_call_that_the_hook_let_through",
        ),
    ),
    "foreign-edits": Promise(
        "A person's change of a foreign call is judged again and approved by itself; the call is made with it, once.",
        (
            "servers/test_foreign_edits.py::test_the_original_call_is_made_once_with_what_a_person_wrote_and_others_approved",
            "servers/console/test_console_pages.py::test_a_foreign_call_is_shown_field_by_field_edited_and_approved",
            "servers/test_foreign_edits.py::test_the_hook_tells_the_changed_input_and_the_prompt_agrees",
            "servers/test_foreign_edits.py::test_who_edited_does_not_approve_where_four_eyes_are_wanted",
            "servers/test_foreign_edits.py::test_policy_judges_what_a_person_wrote_when_it_is_written_and_when_it_is_used",
            "servers/test_foreign_edits.py::test_a_change_that_is_not_allowed_leaves_the_request_as_it_was",
            "servers/test_foreign_edits.py::test_a_replay_after_the_yes_is_over_or_with_another_input_lets_nothing_pass",
        ),
    ),
    "nothing-without-a-yes": Promise(
        "Unless the operator's policy allows it, nothing that cannot be undone happens without a person's yes to "
        "exactly that content.",
        (
            "shared/test_effects.py::test_a_send_waits_for_a_person_and_then_happens_exactly_once",
            "shared/test_guard.py::test_a_function_that_reaches_outside_without_an_effect_is_not_declared",
            "shared/test_approvals.py::test_people_decide_once_and_only_on_what_they_were_shown",
            "shared/test_approvals.py::test_an_undecided_request_expires_and_can_be_asked_again",
            "shared/test_policy.py::test_a_broken_policy_allows_nothing_and_loses_nothing",
            "servers/test_approvals_tools.py::test_no_tool_decides",
        ),
    ),
    "adversary": Promise(
        "Over 10,000 attempts of agents, browsers, outsiders and time, over every tool and transport, bring about no "
        "effect without a person's grant and no decision by a machine; without a check, or two that cover each other, "
        "the same cases find one.",
        (
            "adversary/test_adversary.py::test_a_few_attempts_of_every_kind_fail",
            "adversary/test_adversary.py::test_no_attempt_of_ten_thousand_succeeds",
            "adversary/test_adversary.py::test_the_plan_has_enough_cases_of_every_threat_and_over_every_transport",
            "adversary/test_controls.py::test_without_this_check_the_cases_find_a_violation",
            "adversary/test_controls.py::test_without_these_checks_that_cover_each_other_the_cases_find_a_violation",
            "adversary/test_controls.py::test_what_another_check_covers_lets_nothing_through_when_it_is_missing",
            "adversary/test_machine.py::test_the_machine_finds_a_missing_check",
        ),
    ),
    "seen-as-it-is": Promise(
        "Who approves sees what a text hides: unseen characters, padding, borrowed letters; honest ones as they are.",
        (
            "shared/test_rendering.py::test_every_attack_is_shown_to_the_reader_or_inert",
            "shared/test_rendering.py::test_an_attack_anywhere_in_an_honest_text_is_noticed",
            "shared/test_rendering.py::test_honest_texts_of_forty_languages_and_kinds_raise_no_notice",
            "shared/test_rendering.py::test_no_text_can_pass_for_a_mark",
            "shared/test_rendering.py::test_any_text_is_shown_whole_and_nothing_unseen_is_left",
            "servers/test_hostile_texts.py::test_the_command_shows_what_a_reply_hides_and_says_to_look_twice",
        ),
    ),
    "policy": Promise(
        "The strictest rule wins in any order; no text and nothing unknown makes a verdict milder; a broken policy"
        " stops every write and send.",
        (
            "shared/test_policy_order.py::test_the_order_of_the_rules_does_not_matter",
            "shared/test_policy_order.py::test_a_further_rule_that_asks_or_denies_makes_nothing_milder",
            "shared/test_policy_order.py::test_no_text_makes_a_verdict_milder",
            "shared/test_policy_order.py::test_what_is_unknown_makes_no_verdict_milder",
            "shared/test_policy.py::test_a_broken_policy_allows_nothing_and_loses_nothing",
            "shared/test_policy_conditions.py::test_a_disguised_keyword_is_found",
            "servers/test_policy_facts.py::test_a_text_that_pleads_for_its_approval_changes_no_verdict",
            "servers/test_policy_facts.py::test_the_recipient_is_the_desks_and_not_one_that_a_text_names",
            "servers/test_policy_facts.py::test_an_amount_in_the_stored_draft_counts_not_what_the_agent_says_of_it",
        ),
    ),
    "policy-tried": Promise(
        "A policy can be checked, tried on cases, and a rule put on trial before it applies.",
        (
            "servers/test_policy_command.py::test_the_examples_of_the_document_do_what_it_says",
            "servers/test_policy_command.py::test_a_case_with_another_verdict_fails_and_says_what_it_is",
            "servers/test_policy_command.py::test_a_policy_that_does_not_fit_is_told_with_its_line",
            "servers/test_policy_facts.py::test_a_rule_on_trial_is_logged_and_applied_to_nothing",
            "shared/test_policy_order.py::test_rules_on_trial_change_nothing_and_are_told",
        ),
    ),
    "console": Promise(
        "People decide on pages of their own: live, by keyboard, on a phone, without a script; it is done at once.",
        (
            "browser/test_console.py::test_the_first_run_makes_a_person_who_signs_out_and_in_again",
            "browser/test_console.py::test_a_request_arrives_by_itself_and_is_decided_with_two_keys_and_sent",
            "browser/test_console.py::test_the_keys_move_open_and_deny_with_a_reason",
            "browser/test_console.py::test_an_edited_reply_is_a_new_request_and_what_is_sent_is_the_persons",
            "browser/test_console.py::test_a_batch_sends_what_is_ticked_and_leaves_the_rest",
            "browser/test_console.py::test_a_batch_is_denied_with_one_reason_and_leaves_the_rest",
            "browser/test_console.py::test_every_page_fits_a_phone",
            "browser/test_console.py::test_without_a_script_everything_is_decided_all_the_same",
            "servers/console/test_console_pages.py::test_a_request_shows_what_the_server_knows_before_what_the_agent_says",
            "servers/console/test_console_pages.py::test_a_decision_on_something_else_than_shown_tells_what_changed",
            "servers/console/test_console_command.py::test_the_first_start_prints_the_link_and_a_signal_ends_it_cleanly",
        ),
    ),
    "console-guarded": Promise(
        "Nobody but a signed-in person at a page of the console decides there, and only on what was shown whole.",
        (
            "servers/console/test_console_security.py::test_a_form_from_elsewhere_decides_nothing",
            "servers/console/test_console_security.py::test_a_foreign_host_name_reaches_no_page",
            "servers/console/test_console_security.py::test_a_form_without_the_visitors_own_token_decides_nothing",
            "servers/console/test_console_security.py::test_a_forged_ended_or_expired_session_decides_nothing",
            "servers/console/test_console_security.py::test_failed_sign_ins_are_limited_and_the_limit_passes",
            "servers/console/test_console_security.py::test_a_get_never_decides_whatever_link_is_followed",
            "servers/console/test_console_security.py::test_who_has_no_role_looks_on_and_who_lacks_the_role_does_not_decide",
            "servers/console/test_console_security.py::test_without_the_whole_text_shown_a_yes_is_refused",
            "servers/console/test_console_security.py::test_the_first_persons_link_works_once_and_for_one_person",
            "browser/test_console.py::test_hostile_text_is_shown_as_it_is_and_does_nothing",
            "browser/test_console.py::test_a_long_text_is_read_to_its_end_before_the_key_works",
        ),
    ),
    "how-people-decide": Promise(
        "As many persons as policy wants, in the roles that it names, say yes to exactly one revision.",
        (
            "shared/test_deciding.py::test_a_quorum_is_of_distinct_persons_and_one_no_is_enough",
            "shared/test_deciding.py::test_only_a_named_role_decides",
            "shared/test_deciding.py::test_a_card_is_decided_in_one_act_with_a_fingerprint_for_each_line",
            "shared/test_deciding.py::test_a_card_is_denied_in_one_act_with_a_fingerprint_for_each_line",
            "shared/test_deciding.py::test_what_is_critical_or_was_set_apart_is_decided_by_itself",
            "shared/test_deciding.py::test_a_policy_that_became_stricter_asks_anew_before_anything_is_done",
            "shared/test_deciding.py::test_a_flood_of_requests_stops_at_the_ceiling_and_nothing_is_lost",
            "shared/test_holds.py::test_holds_beyond_the_ceiling_hold_without_a_card_until_people_decided_some",
            "shared/test_deciding.py::test_a_person_is_told_what_the_server_fetched_and_nothing_that_the_agent_claims",
            "shared/test_approval_states.py::test_every_edge_of_the_states_is_the_documented_one",
        ),
    ),
    "people-edit": Promise(
        "A person's change is judged again, approved by itself and sent once; the original call is never done too.",
        (
            "shared/test_deciding.py::test_a_persons_change_is_sent_once_and_the_original_call_is_told_so",
            "e2e/test_reviewing.py::test_what_a_person_wrote_at_the_command_line_is_sent_once_they_approve_it",
            "e2e/test_reviewing.py::test_watching_prints_each_request_as_it_comes",
            "shared/test_deciding.py::test_votes_do_not_survive_a_change_and_its_editor_is_no_approver_where_four_eyes_are_wanted",
            "shared/test_deciding.py::test_a_change_that_is_not_allowed_leaves_the_request_as_it_was",
            "shared/test_deciding.py::test_a_change_is_judged_by_policy_and_a_stale_one_is_refused",
        ),
    ),
    "doubts-are-settled": Promise(
        "What no machine can tell a person settles, and only what did not happen is done under the same yes.",
        (
            "shared/test_deciding.py::test_a_person_who_saw_that_it_happened_settles_the_doubt_for_good",
            "shared/test_deciding.py::test_what_did_not_happen_is_done_while_the_yes_lasts",
            "shared/test_deciding.py::test_what_did_not_happen_needs_a_new_yes_when_the_old_one_is_over",
            "shared/test_settling.py::test_only_what_a_person_says_did_not_happen_is_done_again",
            "shared/test_settling.py::test_who_decides_nothing_and_what_is_not_in_doubt_settles_nothing",
            "servers/console/test_console_settling.py::test_a_doubt_without_a_request_is_settled_on_the_attention_page",
        ),
    ),
    "done-without-the-agent": Promise(
        "What is approved is done although no agent and no server is running.",
        (
            "e2e/test_night.py::test_an_approved_reply_leaves_once_though_no_agent_and_no_server_runs",
            "servers/test_lossy_desk.py::test_the_real_command_sends_once_what_a_real_server_asked_for",
        ),
    ),
    "at-most-once": Promise(
        "A reply is sent at most once, whoever repeats what in whatever run, also when the desk loses its answers.",
        (
            "shared/test_effects.py::test_a_sent_reply_is_replayed_in_any_run_without_one_and_by_any_process",
            "shared/test_effects.py::test_workers_of_two_processes_on_two_threads_send_once",
            "shared/test_effects.py::test_a_sent_draft_cannot_be_sent_differently",
            "shared/test_interrupted_effects.py::test_what_a_dead_process_left_is_looked_up_before_it_is_repeated",
            "servers/test_lossy_desk.py::test_in_any_weather_every_reply_is_sent_exactly_once",
            "servers/test_lossy_desk.py::test_in_the_same_weather_a_naive_retry_duplicates",
        ),
    ),
    "denial-sticks": Promise(
        "A denial sticks to the content, and its reason reaches the agent.",
        (
            "shared/test_approvals.py::test_a_denial_sticks_to_the_content_and_its_reason_reaches_the_agent",
            "servers/test_nightly.py::test_a_denied_reply_is_not_asked_for_again_by_the_next_night",
        ),
    ),
    "stale-approvals": Promise(
        "An approval is void when a newer draft replaces it, the customer writes again, or the tool changes.",
        (
            "shared/test_approvals.py::test_a_new_draft_withdraws_the_older_request_and_voids_its_approval",
            "shared/test_approvals.py::test_a_new_message_of_the_customer_voids_what_was_approved",
            "shared/test_approvals.py::test_our_own_tags_and_messages_do_not_void_an_approval",
            "shared/test_approvals.py::test_a_tool_that_changed_since_voids_and_asks_again",
        ),
    ),
    "holds": Promise(
        "A ticket or text with a sensitive matter is held by the server that would act, look-alike spellings included.",
        (
            "shared/test_holds.py::test_a_sensitive_ticket_can_be_read_and_nothing_else",
            "shared/test_holds.py::test_a_release_does_not_cover_sensitive_words_of_the_agents_own",
            "shared/test_holds.py::test_a_new_sensitive_message_holds_a_released_ticket_anew",
            "servers/test_nightly.py::test_a_real_inbox_of_340_messages_is_worked_through",
            "servers/test_nightly.py::test_the_bundled_inbox_fits_the_default_steps_and_holds_what_is_sensitive",
        ),
    ),
    "resume": Promise(
        "Kill it whenever you like: the same command goes on from the last checkpoint, loses nothing, repeats nothing.",
        (
            "crash/test_night_shift_kills.py::test_twenty_kills_lose_nothing_and_repeat_nothing",
            "servers/test_runs.py::test_resuming_returns_the_last_checkpoint_and_what_came_after_it",
            "servers/test_runs.py::test_only_the_newest_handle_drives_a_run",
        ),
    ),
    "budgets": Promise(
        "A run stops at its steps, and a principal at the day's tokens, money and calls, and can still end cleanly.",
        (
            "servers/test_runs.py::test_concurrent_calls_never_exceed_the_steps",
            "servers/test_runs.py::test_a_run_without_steps_can_still_be_ended_cleanly",
            "servers/test_runs.py::test_beyond_the_calls_of_the_day_a_run_can_still_be_ended_cleanly",
            "servers/test_runs.py::test_used_up_tokens_refuse_new_work_but_let_the_run_end",
            "servers/test_nightly.py::test_a_night_out_of_steps_pauses_and_goes_on_with_the_same_key",
        ),
    ),
    "kills": Promise(
        "Servers, agents and databases killed at any point lose no effect and repeat none.",
        (
            "crash/test_crash.py::test_kills_at_every_point_lose_nothing_and_repeat_nothing",
            "crash/test_crash.py::test_without_the_recall_the_same_kills_duplicate",
            "crash/test_crash.py::test_a_run_of_200_steps_killed_at_150_goes_on_at_140_and_repeats_nothing",
            "crash/test_crash.py::test_of_two_agents_on_one_run_the_older_loses_it",
            "crash/test_crash.py::test_an_owner_that_stood_still_beyond_its_lease_neither_acts_nor_records",
            "crash/test_crash.py::test_an_owner_that_stood_still_amid_its_claim_has_no_more_time_than_the_claim_says",
            "crash/test_crash.py::test_a_database_that_crashes_under_way_keeps_what_was_answered_and_repeats_nothing",
        ),
    ),
    "races": Promise(
        "Processes that race for the same effect or the last of a budget do it once, and never overrun it.",
        (
            "crash/test_races.py::test_three_processes_racing_the_same_effects_do_each_once",
            "crash/test_grants.py::test_a_thousand_grants_raced_by_killed_workers_are_a_thousand_executions",
            "crash/test_races.py::test_three_processes_racing_for_calls_never_overrun_the_day",
            "crash/test_races.py::test_three_processes_racing_for_steps_never_overrun_the_run",
        ),
    ),
    "background": Promise(
        "What is approved is done by any server of its room that runs; a dead one's work is taken over once.",
        (
            "servers/test_background.py::test_a_process_that_serves_tickets_executes_what_was_approved_elsewhere",
            "servers/test_background.py::test_a_process_that_serves_no_tickets_leaves_them_alone_and_does_the_chores",
            "servers/test_background.py::test_what_a_killed_replica_held_is_done_once_by_another_one",
            "shared/test_outbox.py::test_who_lost_its_lease_changes_nothing_any_more",
            "shared/test_worker.py::test_what_a_dead_process_left_is_settled_though_no_agent_comes_back",
        ),
    ),
    "clean-ends": Promise(
        "Ending a process leaves nothing half done.",
        (
            "servers/test_background.py::test_a_job_in_flight_is_finished_before_the_end_and_no_other_one_begun",
            "servers/test_background.py::test_a_job_that_outlasts_the_drain_is_abandoned_whole_and_done_once_by_the_next_process",
            "servers/test_background.py::test_a_write_whose_call_is_cancelled_is_finished_and_its_repetition_replayed",
            "servers/test_background.py::test_what_telemetry_has_gathered_is_sent_before_the_end",
        ),
    ),
    "people-are-told": Promise(
        "People are told, signed, without content, and not once for each of many.",
        (
            "shared/test_announcements.py::test_a_request_is_told_at_once_with_what_it_is_and_never_with_what_it_says",
            "shared/test_announcements.py::test_a_flood_is_told_in_two_messages_and_no_request_twice",
            "shared/test_announcements.py::test_half_of_the_time_later_there_is_one_reminder_and_at_its_end_the_news",
        ),
    ),
    "person-raises-limits": Promise(
        "The limits of a run are raised by a person only; one that is resumed gets further steps, within the "
        "operator's ceiling.",
        (
            "servers/test_limits.py::test_a_person_raises_the_limits_of_a_paused_run_and_it_goes_on",
            "servers/test_limits.py::test_a_yes_that_no_longer_fits_raises_nothing_and_says_so",
        ),
    ),
    "usage": Promise(
        "Usage is never counted twice, unknown is not zero, and a day is the operator's local day.",
        (
            "servers/test_budgets.py::test_what_several_sources_counted_is_compared_and_not_added_up",
            "servers/test_budgets.py::test_a_run_that_must_report_its_usage_waits_for_the_report",
            "servers/test_budgets.py::test_where_money_is_limited_a_report_without_usd_leaves_the_cost_unknown",
            "servers/test_budgets.py::test_a_cost_that_is_known_in_part_is_shown_as_the_least_it_was",
            "servers/test_budgets.py::test_a_day_ends_at_the_next_local_midnight",
        ),
    ),
    "largest-checkpoint": Promise(
        "The largest checkpoint comes back whole, with every later step and its result.",
        ("servers/test_resuming.py::test_the_largest_checkpoint_comes_back_from_another_process_over_stdio",),
    ),
    "saved-checkpoint": Promise(
        "A checkpoint is saved once and whole, whoever else writes, and when the database's connection is cut.",
        (
            "servers/test_runs.py::test_a_checkpoint_is_saved_once_and_never_rewritten",
            "contracts/test_calls.py::test_many_at_the_same_time_are_all_saved",
            "contracts/test_calls.py::test_who_is_kept_waiting_saves_in_a_transaction",
            "contracts/test_calls.py::test_a_connection_that_was_cut_is_opened_again",
            "contracts/test_calls.py::test_a_function_does_what_the_statements_do",
        ),
    ),
    "replay": Promise(
        "A run is recorded so that nobody else can read it, and replays call by call with no effect at all.",
        (
            "servers/test_replay.py::test_everything_that_is_said_in_a_run_is_recorded",
            "servers/test_replay.py::test_a_night_replays_call_by_call_with_no_effect_at_all",
            "servers/test_replay.py::test_the_first_call_that_differs_is_named_and_nothing_is_answered_behind_it",
            "servers/test_replay.py::test_the_commands_show_a_run_and_serve_it_again_over_stdio",
        ),
    ),
    "backup": Promise(
        "A copy is taken while servers run, and putting it back repeats nothing that was done since.",
        (
            "servers/test_backup.py::test_the_command_copies_while_a_server_runs_and_refuses_to_put_back_under_it",
            "servers/test_backup.py::test_what_was_sent_after_the_copy_is_not_sent_again_when_it_is_put_back",
            "servers/test_backup.py::test_without_the_look_up_a_restored_database_would_send_again",
            "servers/test_backup.py::test_what_a_dump_has_is_replayed_and_what_was_sent_after_it_is_looked_up",
        ),
    ),
    "upgrade": Promise(
        "A newer program goes on with an older one's database: what was done is replayed, what was begun is looked up, "
        "what was approved is done once.",
        (
            "contracts/test_upgrading.py::test_what_an_older_database_has_is_replayed_looked_up_or_sent_once",
            "servers/test_budgets.py::test_reports_from_before_sources_were_told_apart_are_kept",
            "shared/test_outbox.py::test_jobs_of_an_older_database_get_the_place_of_their_approval",
        ),
    ),
    "postgres": Promise(
        "PostgreSQL takes the file's place, and what was known goes along.",
        (
            "contracts/test_moving.py::test_a_night_goes_along_and_is_not_repeated",
            "contracts/test_moving.py::test_nothing_is_mixed_into_a_database_in_use",
            "contracts/test_moving.py::test_nothing_is_done_from_the_file_while_it_is_copied_nor_after_a_kill",
            "contracts/test_moving.py::test_a_move_that_fails_leaves_the_file_as_it_was",
        ),
    ),
    "clocks": Promise(
        "A clock that is set, the database server's included, ends no lease and repeats nothing.",
        (
            "shared/test_clock_jumps.py::test_what_a_dead_process_left_is_taken_over_after_its_lease_and_not_by_the_calendar",
            "shared/test_clock_jumps.py::test_a_job_of_a_dead_worker_is_taken_over_after_its_lease_and_sends_nothing_again",
            "shared/test_server_clock.py::test_a_clock_that_is_set_ahead_gives_no_claim_to_another_process",
            "shared/test_server_clock.py::test_once_the_clock_went_on_evenly_for_long_enough_the_claim_is_looked_up",
            "shared/test_server_clock.py::test_a_machine_with_no_clock_but_the_one_that_is_set_gives_no_claim_away_either",
        ),
    ),
    "database-amid": Promise(
        "A database that fails while a reply is on its way does not make the reply look as if it had not been sent.",
        (
            "servers/test_desk_writes.py::test_how_a_write_ended_is_told_although_nobody_can_record_it",
            "servers/test_desk_writes.py::test_a_database_that_fails_amid_a_send_leaves_one_reply",
        ),
    ),
    "full-disk": Promise(
        "A full disk is said to be full, costs no effect, and work goes on when there is room again.",
        (
            "shared/test_full_disk.py::test_a_full_disk_refuses_what_needs_room_and_the_same_call_works_once_there_is_some",
            "shared/test_full_disk.py::test_a_real_server_lives_through_a_full_disk_and_repeats_nothing",
        ),
    ),
    "pause-and-dry-run": Promise(
        "A pause stops every write at once, and a dry run sends nothing and says so.",
        (
            "e2e/test_night.py::test_a_pause_stops_what_was_approved_until_it_ends",
            "e2e/test_night.py::test_a_dry_run_says_so_and_sends_nothing_even_when_approved",
            "shared/test_guard.py::test_a_pause_stops_what_reaches_outside_and_nothing_else",
        ),
    ),
    "clear-refusals": Promise(
        "Bad input gets one short typed refusal, never a traceback, never an echo of the value.",
        (
            "shared/test_schemas_strict.py::test_arguments_that_do_not_fit_are_refused_shortly_and_never_echoed",
            "shared/test_schemas_strict.py::test_an_unknown_tool_is_a_typed_refusal_without_its_name",
            "shared/test_guard.py::test_a_defect_reaches_neither_model_nor_log_and_the_server_goes_on",
            "e2e/test_night.py::test_bad_windows_and_settings_are_refused_with_their_names",
        ),
    ),
    "small-surface": Promise(
        "The whole suite of tools costs a model at most 6,000 tokens, and a change of it shows in review.",
        (
            "test_schemas.py::test_the_suite_costs_a_model_less_than_its_budget_of_tokens",
            "test_schemas.py::test_tool_schemas_are_the_committed_ones",
        ),
    ),
    "import": Promise(
        "Tickets come from JSONL and CSV; a bad row is told with its line, the same file twice changes nothing.",
        (
            "servers/test_import.py::test_a_bad_row_is_told_with_its_line_and_skipped",
            "servers/test_import.py::test_the_same_file_twice_changes_nothing",
            "servers/test_import.py::test_strict_imports_nothing_when_a_row_is_bad",
        ),
    ),
    "private": Promise(
        "Customers' addresses reach no agent, HTTP needs the token, and no secret is printed.",
        (
            "servers/test_tickets.py::test_the_requesters_address_reaches_no_agent",
            "shared/test_http_transport.py::test_every_mcp_address_refuses_a_request_without_the_token",
            "e2e/test_distribution.py::test_the_configuration_for_claude_desktop_has_absolute_paths_and_no_secret",
        ),
    ),
    "audit": Promise(
        "Any bit flipped, event cut out or moved in the audit log is found; what was rewritten as a whole or cut "
        "at the end does not fit the signed checkpoints.",
        (
            "shared/test_audit.py::test_any_bit_flipped_is_found_and_where",
            "shared/test_audit.py::test_an_event_cut_out_anywhere_is_found",
            "shared/test_audit.py::test_events_that_changed_places_are_found",
            "shared/test_audit.py::test_a_log_rewritten_from_any_event_on_with_fitting_hashes_is_found_by_a_checkpoint",
            "shared/test_audit.py::test_checkpoints_are_written_after_many_events_or_some_time_and_a_cut_log_does_not_fit_them",
            "shared/test_audit.py::test_processes_that_append_at_once_make_one_chain",
            "shared/test_audit.py::test_every_bit_of_every_column_of_every_event_counts",
            "shared/test_audit.py::test_a_cut_at_the_head_in_the_middle_or_at_the_tail_is_found",
            "shared/test_audit.py::test_an_event_that_stands_there_twice_is_found",
            "shared/test_audit.py::test_another_history_with_hashes_that_fit_does_not_fit_the_checkpoint",
            "shared/test_audit.py::test_on_every_database_a_change_of_any_column_a_cut_and_a_swap_are_found",
            "shared/test_audit.py::test_a_checkpoint_with_any_bit_flipped_is_not_believed",
            "shared/test_audit.py::test_a_log_verifies_by_the_public_key_that_somebody_kept_and_by_no_other",
        ),
    ),
    "audit-restored": Promise(
        "An honest restore or move, or a crash amid a checkpoint, is no tampering; a restore is told in the audit log, "
        "and hides no cut.",
        (
            "servers/test_restored_audit.py::test_after_an_honest_restore_the_log_verifies_and_says_that_it_was_restored",
            "servers/test_restored_audit.py::test_a_copy_that_was_tampered_with_does_not_fit_the_checkpoints_that_stay",
            "servers/test_restored_audit.py::test_a_file_put_back_by_hand_is_a_cut_until_it_is_told",
            "shared/test_audit.py::test_a_checkpoint_torn_at_any_byte_is_told_from_a_changed_one_and_the_next_one_heals_the_file",
            "contracts/test_moving.py::test_a_night_goes_along_and_is_not_repeated",
        ),
    ),
    "audit-private": Promise(
        "The audit log tells who asked, decided and used what, and holds no text of customers, agents or people.",
        (
            "shared/test_audit.py::test_the_log_tells_what_became_of_a_request_and_holds_no_text_of_anybody",
            "shared/test_audit.py::test_what_time_and_the_agent_end_is_told_once",
            "servers/console/test_console_audit.py::test_the_log_tells_who_came_went_and_was_let_in",
            "servers/console/test_console_audit.py::test_refused_sign_ins_are_told_once_a_window_and_cannot_flood_the_log",
            "servers/console/test_console_audit.py::test_no_password_token_or_typed_name_is_in_the_log",
        ),
    ),
    "zendesk-once": Promise(
        "A reply, change or ticket reaches Zendesk at most once, whether answers are lost, requests arrive late "
        "or keys are forgotten.",
        (
            "servers/test_zendesk.py::test_an_approved_reply_reaches_the_customer_once_whatever_becomes_of_its_answer",
            "servers/test_zendesk.py::test_a_reply_whose_answer_is_lost_is_found_and_there_once",
            "servers/test_zendesk.py::test_a_reply_that_arrives_late_does_not_follow_its_repetition",
            "servers/test_zendesk.py::test_a_reply_that_arrives_before_its_repetition_is_found",
            "servers/test_zendesk.py::test_in_the_second_of_a_change_a_reply_is_not_repeated_as_its_stamp_could_not_tell",
            "servers/test_zendesk.py::test_a_change_whose_answer_is_lost_is_found",
            "servers/test_zendesk.py::test_a_creation_whose_answer_is_lost_is_repeated_with_its_key",
            "servers/test_zendesk.py::test_a_creation_is_found_when_its_key_is_forgotten",
            "servers/test_zendesk.py::test_a_marker_too_far_back_is_no_proof_that_nothing_happened",
        ),
    ),
    "zendesk-current": Promise(
        "Nothing is written to a Zendesk ticket that changed meanwhile, and no message stays unnoticed that is "
        "not as visible as asked.",
        (
            "servers/test_zendesk.py::test_a_message_that_comes_meanwhile_is_a_conflict",
            "servers/test_zendesk.py::test_a_change_that_comes_meanwhile_is_a_conflict",
            "servers/test_zendesk.py::test_a_change_replaces_the_tags_of_the_version_that_was_read",
            "servers/test_zendesk.py::test_a_message_that_is_not_as_visible_as_asked_is_never_accepted",
        ),
    ),
    "zendesk-complete": Promise(
        "Zendesk's tickets come in order and none is left out: not for an index that lags, a cursor that expires, "
        "seconds with many tickets or a restart.",
        (
            "servers/test_zendesk.py::test_what_the_index_does_not_have_yet_is_listed_all_the_same",
            "servers/test_zendesk.py::test_a_change_of_this_very_moment_is_left_for_later",
            "servers/test_zendesk.py::test_a_window_that_just_ended_has_its_youngest_tickets",
            "servers/test_zendesk.py::test_too_much_for_the_last_minutes_waits_for_the_index_and_is_not_cut",
            "servers/test_zendesk.py::test_many_tickets_of_one_second_are_all_listed_once",
            "servers/test_zendesk.py::test_the_export_goes_on_in_another_process",
            "servers/test_zendesk.py::test_an_expired_cursor_begins_again_before_its_watermark_and_returns_nothing_twice",
            "servers/test_zendesk.py::test_what_the_export_repeats_at_its_seams_is_returned_once",
            "servers/test_zendesk.py::test_a_position_of_one_way_of_reading_goes_on_in_the_other",
        ),
    ),
    "zendesk-contract": Promise(
        "What is asked of Zendesk fits its published contract, and real answers are read; warnings, refused "
        "credentials and the end of API tokens are told.",
        (
            "servers/test_zendesk_contract.py::test_zendesks_contract_accepts_what_is_asked",
            "servers/test_zendesk_contract.py::test_zendesks_contract_accepts_what_is_sent",
            "servers/test_zendesk_contract.py::test_every_recorded_ticket_comment_and_audit_is_read",
            "servers/test_zendesk.py::test_a_warning_of_the_api_is_counted_and_logged_without_what_it_says",
            "servers/test_zendesk.py::test_refused_credentials_are_told",
            "servers/test_zendesk.py::test_a_bearer_token_is_renewed_when_it_is_refused",
            "servers/test_zendesk.py::test_doctor_says_when_api_tokens_end_and_what_is_missing",
        ),
    ),
    "renewing": Promise(
        "OAuth tokens are renewed before they end by one of all processes and replicas, once a generation, whoever is "
        "killed; a refusal says what to do, and the server is not asked again for a while.",
        (
            "servers/test_tokens.py::test_many_calls_of_many_replicas_refresh_once",
            "servers/test_tokens.py::test_many_calls_that_are_refused_refresh_once",
            "servers/test_tokens.py::test_processes_refresh_once_a_generation",
            "servers/test_tokens.py::test_without_the_lease_processes_refresh_more_than_once",
            "servers/test_tokens.py::test_a_killed_refresher_is_taken_over",
            "servers/test_tokens.py::test_while_a_lost_renewal_may_be_late_the_old_token_is_used_and_nothing_is_sent_twice",
            "servers/test_tokens.py::test_a_reply_that_was_lost_costs_the_authorisation_where_it_does_not",
            "servers/test_tokens.py::test_a_refusal_says_what_to_do_and_is_remembered",
            "servers/test_tokens.py::test_a_renewal_is_finished_though_its_caller_has_gone",
        ),
    ),
    "credentials-private": Promise(
        "A desk's tokens are sealed in the database, come in by a pipe or a file, are shown to no other client or "
        "server, and are in no log, span, error, record or audit event, whatever goes wrong.",
        (
            "servers/test_tokens.py::test_what_is_stored_is_sealed",
            "servers/test_tokens.py::test_tokens_are_shown_to_no_other_client_or_server",
            "servers/test_doctor.py::test_a_desk_is_connected_by_a_refresh_token_from_a_pipe_or_a_file",
            "servers/test_doctor.py::test_a_token_is_never_an_argument",
            "servers/test_canaries.py::test_no_credential_is_anywhere_whatever_the_desk_answers",
        ),
    ),
    "doctor-desk": Promise(
        "`gatebook doctor` says whether the desk can be reached with these credentials and what ends soon, and fails "
        "when it cannot.",
        (
            "servers/test_doctor.py::test_doctor_says_that_the_desk_answers_and_how_its_clock_goes",
            "servers/test_doctor.py::test_doctor_fails_when_the_desk_does_not_let_us_in",
            "servers/test_doctor.py::test_doctor_warns_when_little_of_a_rate_limit_is_left",
            "servers/test_doctor.py::test_what_ends_is_told_half_a_year_before",
        ),
    ),
    "desks-proved": Promise(
        "At every desk, over a network at its worst and with owners that stand still or sleep beyond their lease, what "
        "was approved is there once, reported as it is, and settled without a person.",
        (
            "desks/test_sends.py::test_approved_sends_over_a_bad_line_are_sent_once_and_reported_as_they_are",
            "desks/test_sends.py::test_of_3000_approved_sends_at_most_three_in_a_hundred_are_unknown_for_a_while",
            "desks/test_sends.py::test_retrying_whatever_failed_duplicates_all_that_the_desk_does_not_fence",
            "desks/test_races.py::test_two_replicas_that_send_the_same_draft_at_once_send_it_once",
            "desks/test_races.py::test_two_replicas_that_send_3000_drafts_at_once_send_each_once",
            "desks/test_races.py::test_of_two_answers_to_one_state_of_a_ticket_a_desk_that_fences_it_takes_one",
        ),
    ),
    "desks-pulled": Promise(
        "At every desk an interrupted pull misses no ticket and hands no version out again once it was acknowledged; a "
        "change comes as a new version, memory stays flat and every page fits.",
        (
            "desks/test_pulls.py::test_an_interrupted_pull_misses_nothing_and_acknowledges_each_version_once",
            "desks/test_pulls.py::test_20000_tickets_pulled_with_50_interruptions_are_whole_and_memory_stays_flat",
        ),
    ),
    "desks-nights": Promise(
        "At Zendesk, Jira and GitHub a night with faults, kills and decisions amid it leaves what a calm one leaves.",
        ("desks/test_nights.py::test_a_night_with_faults_and_two_kills_leaves_what_a_calm_one_leaves",),
    ),
    "jira-once": Promise(
        "Whether a reply, note, change or ticket reached Jira is looked up before anything is repeated, and a person "
        "is asked where that cannot be told.",
        (
            "servers/test_jira.py::test_an_approved_reply_reaches_jira_once_though_its_answer_is_lost",
            "servers/test_jira.py::test_a_message_whose_answer_was_lost_is_found",
            "servers/test_jira.py::test_a_message_that_never_arrived_is_surely_not_there",
            "servers/test_jira.py::test_a_message_that_is_too_far_back_cannot_be_told",
            "servers/test_jira.py::test_a_note_whose_answer_was_lost_is_known_by_author_text_and_time",
            "servers/test_jira.py::test_a_note_that_never_arrived_is_surely_not_there",
            "servers/test_jira.py::test_the_same_note_twice_cannot_be_told_apart",
            "servers/test_jira.py::test_a_note_beside_another_write_of_the_same_text_cannot_be_told",
            "servers/test_jira.py::test_a_new_ticket_whose_answer_was_lost_is_found_once_the_search_knows_it",
            "servers/test_jira.py::test_a_marker_among_too_many_new_tickets_cannot_be_told",
            "servers/test_jira.py::test_a_transition_whose_answer_was_lost_is_found",
            "servers/test_jira.py::test_a_transition_that_never_arrived_is_surely_not_there_when_it_was_alone",
            "servers/test_jira.py::test_of_a_ticket_that_is_gone_nothing_can_be_told",
        ),
    ),
    "jira-internal": Promise(
        "What is meant for colleagues is never shown to Jira's customers, and a message that is not as visible as "
        "asked is an alarm.",
        (
            "servers/test_jira.py::test_an_internal_note_never_goes_the_way_of_a_public_message",
            "servers/test_jira.py::test_without_a_service_desk_an_internal_note_is_refused",
            "servers/test_jira.py::test_a_message_that_others_can_see_than_asked_is_an_alarm",
            "servers/test_jira.py::test_a_message_that_is_found_is_also_looked_at_for_who_can_see_it",
        ),
    ),
    "jira-complete": Promise(
        "Jira's tickets come in order, none is left out and none comes twice: not for an index that lags, a token that "
        "expires, clocks that are put back or a restart.",
        (
            "servers/test_jira.py::test_a_position_outlives_the_process_and_fits_a_cursor",
            "servers/test_jira.py::test_a_page_token_that_expired_loses_and_repeats_nothing",
            "servers/test_jira.py::test_a_change_that_the_search_learns_of_late_is_handed_out_once",
            "servers/test_jira.py::test_our_own_writes_are_seen_at_once_also_by_another_process",
            "servers/test_jira.py::test_a_page_that_looks_in_vain_ends_and_goes_on",
            "servers/test_jira_positions.py::test_whatever_the_page_everything_comes_in_order_and_once",
            "servers/test_jira_positions.py::test_what_turns_up_late_comes_once",
            "servers/test_jira_positions.py::test_a_query_asks_for_all_that_is_wanted_whatever_the_clocks_do",
        ),
    ),
    "jira-contract": Promise(
        "What is asked of Jira fits its published contracts, real answers are read, documents lose no word, and a rate "
        "limit stops only what it is about.",
        (
            "servers/test_jira_contract.py::test_jiras_contracts_accept_what_is_asked",
            "servers/test_jira_contract.py::test_every_recorded_issue_comment_and_transition_is_read",
            "servers/test_jira_documents.py::test_a_text_comes_back_as_it_was_with_newlines_for_line_ends",
            "servers/test_jira_documents.py::test_the_words_of_every_node_stay",
            "servers/test_jira.py::test_a_limit_stops_what_it_is_about_and_nothing_else",
        ),
    ),
    "github": Promise(
        "GitHub's issues are a desk: what changes while it is read is not missed, nothing internal becomes public, "
        "writes keep GitHub's pace across processes, and what became of a lost answer is found or said to be unknown.",
        (
            "contracts/test_desk.py::test_a_message_is_as_visible_as_asked",
            "contracts/test_desk.py::test_an_update_of_what_changed_meanwhile_is_a_conflict",
            "servers/test_github.py::test_a_page_that_holds_only_pull_requests_leads_on",
            "servers/test_github.py::test_however_many_changed_in_one_second_each_comes_once",
            "servers/test_github.py::test_what_changes_while_it_is_read_is_not_missed",
            "servers/test_github.py::test_a_closed_window_misses_nothing_where_issues_are_deleted",
            "servers/test_github.py::test_the_marker_is_where_nobody_sees_it_and_the_text_comes_back_as_it_was",
            "servers/test_github.py::test_a_change_whose_answer_was_lost_is_judged_by_the_issue",
            "servers/test_github.py::test_where_the_issue_changed_otherwise_nobody_can_tell_what_became_of_a_change",
            "servers/test_github.py::test_a_comment_and_a_new_issue_whose_answers_were_lost_are_found_by_their_markers",
            "servers/test_github.py::test_an_approved_reply_whose_answer_was_lost_is_sent_once",
            "servers/test_github.py::test_writes_of_two_processes_are_a_second_apart",
            "servers/test_github.py::test_the_secondary_limit_keeps_everybodys_writes_back",
            "servers/test_github.py::test_a_token_that_was_revoked_is_renewed_once_for_all",
        ),
    ),
    "webhooks": Promise(
        "A signed, fresh webhook wakes who waits, once; any other is refused, and all are off without a secret.",
        (
            "servers/test_webhooks.py::test_a_signed_delivery_wakes_who_waits_once",
            "servers/test_webhooks.py::test_a_delivery_is_believed_once",
            "servers/test_webhooks.py::test_a_delivery_that_is_not_fresh_is_refused",
            "servers/test_webhooks.py::test_what_is_not_signed_as_it_should_be_is_refused",
            "servers/test_webhooks.py::test_a_delivery_that_is_too_long_is_refused_before_it_is_looked_at",
            "servers/test_webhooks.py::test_over_http_a_webhook_ends_a_wait_and_is_off_without_a_secret",
        ),
    ),
}
