//! What the client's documentation says of delivery and of dropping, and the tests that hold it to that.

/// Whatever says what is delivered, or what it means to drop it, and the tests that hold it to that: all its sentences, by
/// name.
pub(crate) const BACKED: [(&str, &[&str]); 129] = [
    (
        "Batching",
        &[
            IN_BATCHES,
            "a_batch_that_is_rejected_sinks_the_bad_message_alone",
            WHOLE,
        ],
    ),
    (
        "Command",
        &[
            COMMAND_ANSWERED,
            "a_command_whose_link_is_gone_says_that_the_lock_is_lost_and_the_stream_goes_on",
            ANSWER_DROPPED,
        ],
    ),
    ("Command::abandon", &[ANSWER_DROPPED]),
    ("Command::complete", &[ANSWER_DROPPED]),
    ("Command::reject", &[ANSWER_DROPPED]),
    (
        "Commands",
        &[
            NEXT_DROPPED,
            "a_dropped_stream_gives_back_what_was_not_taken_and_keeps_what_was",
            "a_command_whose_link_is_gone_says_that_the_lock_is_lost_and_the_stream_goes_on",
            WHOLE,
        ],
    ),
    ("Commands::next", &[NEXT_DROPPED]),
    (
        "Connection",
        &[
            "a_device_that_is_refused_does_not_disturb_the_others",
            "a_lost_connection_is_made_anew_once_for_all_its_devices",
            BESIDE_OTHERS,
            WHOLE,
        ],
    ),
    (
        "Connection::close",
        &[
            BESIDE_OTHERS,
            "whoever_sends_on_a_closed_connection_is_told_so",
            WHOLE,
        ],
    ),
    ("Connection::close_within", &[BESIDE_OTHERS]),
    ("ConnectionBuilder::open", &[BESIDE_OTHERS]),
    (
        "Credential::token",
        &[
            "a_credential_that_gives_none_is_a_typed_error_in_time",
            CREDENTIAL_DROPPED,
        ],
    ),
    (
        "DesiredChanges",
        &[
            "desired_changes_come_in_turn_and_a_gap_is_closed_by_reading_all",
            "after_a_cut_the_twin_is_subscribed_anew_and_what_was_missed_comes",
            "a_reader_that_falls_behind_gets_the_last_version_all_the_same",
            NEXT_DROPPED,
            WHOLE,
        ],
    ),
    ("DesiredChanges::next", &[NEXT_DROPPED]),
    ("DeviceBuilder::connect", &[BESIDE_OTHERS]),
    (
        "DeviceClient",
        &[
            AT_EVERY_POINT,
            "a_cut_after_any_byte_of_a_session_loses_nothing_and_keeps_the_order",
            "no_more_messages_fly_than_the_window_lets",
            WHOLE,
        ],
    ),
    ("DeviceClient::close", &[AT_EVERY_POINT, UNHEARD, WHOLE]),
    ("DeviceClient::close_within", &[AT_EVERY_POINT]),
    ("DeviceClient::commands", &[AT_EVERY_POINT]),
    ("DeviceClient::enqueue", &[AT_EVERY_POINT, NO_CREDIT, WHOLE]),
    (
        "DeviceClient::inputs",
        &[AT_EVERY_POINT, "a_module_hears_its_inputs"],
    ),
    ("DeviceClient::methods", &[AT_EVERY_POINT]),
    (
        "DeviceClient::send",
        &[
            AT_EVERY_POINT,
            FLIES_ON,
            "a_send_that_is_dropped_after_any_number_of_polls_loses_and_doubles_nothing",
            WHOLE,
        ],
    ),
    ("DeviceClientBuilder::connect", &[AT_EVERY_POINT]),
    (
        "MethodCall",
        &[
            "a_method_is_answered_with_its_uuid_and_an_int_for_a_status",
            CALL_DROPPED,
            ANSWER_DROPPED,
        ],
    ),
    ("MethodCall::respond", &[NOT_TAKEN, ANSWER_DROPPED]),
    (
        "Methods",
        &[
            "calls_are_answered_in_any_order_or_not_at_all_and_go_on_after_a_cut",
            NEXT_DROPPED,
            CALL_DROPPED,
            WHOLE,
        ],
    ),
    ("Methods::next", &[NEXT_DROPPED]),
    ("Network", &[BYTES, NOTHING_LEFT, FAULTS, AT_EVERY_POINT]),
    ("Pool", &["a_pool_spreads_devices_evenly", BESIDE_OTHERS]),
    ("Pool::close", &[BESIDE_OTHERS]),
    ("Pool::open", &[BESIDE_OTHERS]),
    (
        "SendError",
        &[
            UNHEARD,
            GONE,
            TOLD_APART,
            "a_send_that_is_dropped_after_any_number_of_polls_loses_and_doubles_nothing",
            WHOLE,
        ],
    ),
    ("Ticket", &[AT_EVERY_POINT, AFTER_THE_END, WHOLE]),
    (
        "Twin",
        &[
            "reading_the_twin_survives_a_lost_connection",
            "a_twin_s_question_ends_by_its_deadline_and_a_patch_that_may_have_arrived_is_unknown",
            "a_twin_s_patch_that_was_never_offered_is_not_said_to_be_unknown",
            AT_EVERY_POINT,
        ],
    ),
    ("Twin::desired", &[AT_EVERY_POINT]),
    ("Twin::get", &[AT_EVERY_POINT]),
    (
        "Twin::report",
        &[
            "the_twin_is_read_and_reported_as_the_hub_expects",
            AT_EVERY_POINT,
            WHOLE,
        ],
    ),
    ("Events", &[EVENTS_CUT, EVENTS_DROPPED, EVENTS_MISSING]),
    ("Events::next", &[EVENTS_DROPPED]),
    ("EventsClient", &[EVENTS_CUT, EVENTS_DROPPED]),
    (
        "EventsClient::close",
        &[EVENTS_DROPPED, "a_client_that_closes_or_may_not_read_says_so"],
    ),
    ("EventsClient::close_within", &[EVENTS_DROPPED]),
    ("EventsClient::partition", &[EVENTS_DROPPED]),
    ("EventsClientBuilder::connect", &[EVENTS_DROPPED]),
    ("Reading::open", &[EVENTS_DROPPED]),
    (
        "DispatchError",
        &["what_the_hub_refuses_is_told_by_what_is_wrong", SERVICE_DROPPED],
    ),
    (
        "ServiceClient",
        &[
            "messages_that_are_sent_through_cuts_reach_their_device",
            SERVICE_DROPPED,
        ],
    ),
    ("ServiceClient::close", &[SERVICE_DROPPED]),
    ("ServiceClient::close_within", &[SERVICE_DROPPED]),
    (
        "ServiceClient::send",
        &[
            "a_message_reaches_its_device_with_all_that_was_said_of_it",
            SERVICE_DROPPED,
        ],
    ),
    ("ServiceClientBuilder::connect", &[SERVICE_DROPPED]),
    ("FeedbackBatch", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FeedbackBatch::abandon", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FeedbackBatch::complete", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FeedbackBatch::reject", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FeedbackBatches", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FeedbackBatches::next", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FileNotification", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FileNotification::abandon", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    (
        "FileNotification::complete",
        &[FEEDBACK_SETTLED, FEEDBACK_DROPPED],
    ),
    ("FileNotification::reject", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FileNotifications", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("FileNotifications::next", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    ("ServiceClient::feedback", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    (
        "ServiceClient::file_notifications",
        &[FEEDBACK_SETTLED, FEEDBACK_DROPPED],
    ),
    ("Recover", &[GONE, BYTES, BESIDE_OTHERS]),
    (
        "DeviceClientBuilder",
        &[
            BUILDERS,
            AT_EVERY_POINT,
            "no_more_messages_fly_than_the_window_lets",
        ],
    ),
    (
        "ClientCertificate",
        &[CERTIFICATE_REFUSED, "a_chain_and_a_key_may_stand_in_one_text"],
    ),
    (
        "CertificateError",
        &[
            "a_key_of_another_certificate_is_a_mismatch",
            "an_encrypted_key_is_told_from_a_broken_one",
        ],
    ),
    (
        "Transport",
        &[
            "a_device_sends_over_each_transport_by_token_and_by_certificate",
            "a_server_that_says_nothing_times_out",
            NOTHING_LEFT,
        ],
    ),
    ("ConnectionBuilder", &[BUILDERS, BESIDE_OTHERS]),
    (
        "DeviceBuilder",
        &[
            BUILDERS,
            BESIDE_OTHERS,
            "no_more_messages_fly_than_the_window_lets",
        ],
    ),
    (
        "Credential",
        &[
            "a_token_is_renewed_in_place_and_messages_flow_on",
            "a_credential_that_gives_none_is_a_typed_error_in_time",
            CREDENTIAL_DROPPED,
        ],
    ),
    (
        "Key",
        &[
            "a_day_with_tokens_of_an_hour_costs_no_send_and_no_connection_and_at_most_31_tokens",
            CREDENTIAL_DROPPED,
        ],
    ),
    (
        "CredentialError",
        &[
            "a_credential_that_gives_none_is_a_typed_error_in_time",
            CREDENTIAL_DROPPED,
        ],
    ),
    (
        "Position",
        &[
            "every_position_begins_where_it_says",
            EVENTS_MISSING,
            EVENTS_DROPPED,
        ],
    ),
    (
        "Phase",
        &[
            "a_hub_that_falls_silent_times_out_in_the_phase_it_fell_silent_in",
            NO_CREDIT,
            AT_EVERY_POINT,
        ],
    ),
    ("ConnectError", &[FAULTS, AT_EVERY_POINT, NOTHING_LEFT]),
    (
        "TlsFailure",
        &[
            "each_fault_in_the_tls_handshake_ends_with_its_error",
            CERTIFICATE_REFUSED,
            "each_fault_in_the_tls_handshake_of_a_second_connection_is_recovered_from_by_a_third",
        ],
    ),
    (
        "ProxyFailure",
        &[
            "a_proxy_that_does_not_reach_the_hub_says_so",
            "each_refusal_is_told_apart",
        ],
    ),
    (
        "WebSocketFailure",
        &[
            "each_answer_that_is_no_hubs_websocket_is_told_apart",
            "a_server_that_says_nothing_times_out",
        ],
    ),
    ("Lost", &[BYTES, GONE, PLAIN]),
    (
        "Accepted",
        &[
            WHOLE,
            "a_send_that_is_dropped_after_any_number_of_polls_loses_and_doubles_nothing",
            PLAIN,
        ],
    ),
    ("Interruption", &[UNHEARD, AFTER_THE_END, PLAIN]),
    ("EnqueueError", &[NO_CREDIT, AFTER_THE_END]),
    (
        "CloseError",
        &[
            UNHEARD,
            "whoever_sends_on_a_closed_connection_is_told_so",
            AT_EVERY_POINT,
            BESIDE_OTHERS,
        ],
    ),
    (
        "Condition",
        &[
            TOLD_APART,
            "a_link_that_goes_while_a_message_flies_leaves_it_unknown",
            PLAIN,
        ],
    ),
    (
        "ReportError",
        &[FEEDBACK_SETTLED, "what_is_no_feedback_is_an_error"],
    ),
    (
        "EventsError",
        &[
            "whoever_takes_a_partition_by_its_owner_level_is_told_to_who_had_it",
            "a_consumer_group_that_is_not_there_is_told_for_every_partition_and_costs_no_connection",
            EVENTS_DROPPED,
        ],
    ),
    (
        "SubscribeError",
        &[
            "a_link_that_the_hub_refuses_ends_its_stream_and_nothing_else",
            AT_EVERY_POINT,
        ],
    ),
    (
        "SettleError",
        &[
            "a_command_whose_link_is_gone_says_that_the_lock_is_lost_and_the_stream_goes_on",
            "an_answer_larger_than_the_link_takes_is_told_to_the_application_and_to_the_caller",
            NOT_TAKEN,
            ANSWER_DROPPED,
        ],
    ),
    (
        "TwinError",
        &[
            "a_twin_s_question_ends_by_its_deadline_and_a_patch_that_may_have_arrived_is_unknown",
            "a_twin_s_patch_that_was_never_offered_is_not_said_to_be_unknown",
            AT_EVERY_POINT,
        ],
    ),
    ("Event", &["every_position_begins_where_it_says", PLAIN]),
    (
        "EventValue",
        &[
            "a_service_is_redirected_and_reads_all_partitions_as_one_stream",
            PLAIN,
        ],
    ),
    ("Reading", &[EVENTS_CUT, EVENTS_DROPPED]),
    ("EventsClientBuilder", &[BUILDERS, EVENTS_DROPPED]),
    ("PartitionState", &[PLAIN, EVENTS_DROPPED]),
    ("Read", &[EVENTS_CUT, EVENTS_MISSING, PLAIN]),
    ("Gap", &[EVENTS_MISSING, EVENTS_NOTICED]),
    ("Duplicate", &[EVENTS_NOTICED, EVENTS_CUT]),
    (
        "Ended",
        &[
            "whoever_takes_a_partition_by_its_owner_level_is_told_to_who_had_it",
            "a_consumer_group_that_is_not_there_is_told_for_every_partition_and_costs_no_connection",
        ],
    ),
    ("FeedbackRecord", &[FEEDBACK_SETTLED, FEEDBACK_DROPPED]),
    (
        "FeedbackStatus",
        &[
            "a_batch_is_read_as_the_hub_s_documentation_has_it",
            FEEDBACK_SETTLED,
            FEEDBACK_DROPPED,
        ],
    ),
    (
        "UploadedFile",
        &[
            "a_notification_is_read_as_the_hub_s_documentation_has_it",
            FEEDBACK_SETTLED,
            FEEDBACK_DROPPED,
        ],
    ),
    (
        "Progress",
        &[
            "the_lag_is_what_lies_between_the_last_taken_and_the_last_there",
            PLAIN,
            EVENTS_DROPPED,
        ],
    ),
    (
        "Clock",
        &[
            "a_token_that_a_clock_gone_wrong_takes_for_ended_is_left_to_the_hub",
            "a_wrong_key_an_expired_token_an_unknown_device_and_another_s_token_are_refused_alike",
        ],
    ),
    (
        "SystemClock",
        &["a_wrong_key_an_expired_token_an_unknown_device_and_another_s_token_are_refused_alike"],
    ),
    (
        "Message",
        &[
            "a_message_that_flew_when_the_connection_was_cut_is_sent_again_before_newer_ones",
            PLAIN,
            AT_EVERY_POINT,
        ],
    ),
    ("ByteStream", &[BYTES, FAULTS, NOTHING_LEFT]),
    ("SystemNetwork", &[BYTES, SYSTEM_NETWORK]),
    (
        "Proxy",
        &[
            "both_transports_go_through_a_proxy_that_asks_for_credentials",
            "a_proxy_has_a_host_and_a_port",
        ],
    ),
    ("ProxyError", &["what_is_wrong_is_said_without_the_text"]),
    (
        "Proxies",
        &[
            "both_transports_go_through_a_proxy_that_asks_for_credentials",
            "a_proxy_that_does_not_reach_the_hub_says_so",
            "the_environment_names_the_proxy_in_either_case",
        ],
    ),
    ("ReceivedMessage", &[COMMAND_ANSWERED, PLAIN]),
    (
        "Recovery",
        &[
            "a_link_detached_with_each_condition_comes_to_what_the_table_says",
            "each_condition_of_the_sdks_has_its_row",
        ],
    ),
    (
        "Operation",
        &[
            TOLD_APART,
            "a_link_that_goes_while_a_message_flies_leaves_it_unknown",
            "each_condition_of_the_sdks_has_its_row",
        ],
    ),
    ("ServiceClientBuilder", &[BUILDERS, SERVICE_DROPPED]),
    (
        "Ack",
        &[
            "a_message_reaches_its_device_with_all_that_was_said_of_it",
            FEEDBACK_SETTLED,
        ],
    ),
    (
        "Status",
        &[
            "the_next_attempt_comes_when_the_status_says_and_none_before",
            "messages_go_on_when_the_status_says_that_throttling_ends",
            "credit_does_not_come_for_an_hour_and_then_all_goes",
            AFTER_THE_END,
            PLAIN,
        ],
    ),
    (
        "Statistics",
        &[WHOLE, "the_statistics_of_a_client_stay_when_it_has_left", PLAIN],
    ),
    (
        "Schedule",
        &["no_minute_sees_more_than_six_attempts", BYTES, BESIDE_OTHERS],
    ),
    (
        "TwinState",
        &["the_twin_is_read_and_reported_as_the_hub_expects", PLAIN],
    ),
    (
        "Properties",
        &["the_twin_is_read_and_reported_as_the_hub_expects", PLAIN],
    ),
    (
        "DesiredChange",
        &[
            "desired_changes_come_in_turn_and_a_gap_is_closed_by_reading_all",
            "a_reader_that_falls_behind_gets_the_last_version_all_the_same",
            PLAIN,
        ],
    ),
    (
        "Blown",
        &[
            "the_fuse_ends_a_read_that_waits_and_throws_away_what_waits_to_leave",
            "a_violation_fails_the_read_and_the_write_and_is_the_reason",
        ],
    ),
    (
        "Violation",
        &[
            "sound_frames_before_an_unsound_one_pass_first",
            "a_violation_fails_the_read_and_the_write_and_is_the_reason",
        ],
    ),
    (
        "Fuse::ended",
        &["the_fuse_ends_a_read_that_waits_and_throws_away_what_waits_to_leave"],
    ),
    (
        "Fuse::drained",
        &[
            "dropping_the_stream_lets_what_waits_leave_first",
            "dropping_the_stream_waits_for_a_silent_peer_only_for_the_stall_time",
        ],
    ),
];

const CERTIFICATE_REFUSED: &str =
    "a_client_certificate_that_the_server_refuses_is_named_whenever_the_server_says_so";
const EVENTS_NOTICED: &str = "what_is_missing_and_what_comes_again_is_noticed";
const EVENTS_MISSING: &str = "what_the_hub_has_dropped_is_told_and_nothing_else_is";
const AFTER_THE_END: &str = "after_the_end_every_call_says_why_at_once";
const NO_CREDIT: &str = "with_no_credit_for_ever_the_queue_is_bounded_and_every_send_ends_in_time";
const UNHEARD: &str = "what_a_link_may_have_handed_over_unheard_is_never_said_to_be_not_sent";
const TOLD_APART: &str = "the_outcomes_are_told_apart_and_the_words_of_the_hub_arrive";
const NOT_TAKEN: &str = "an_answer_that_its_link_does_not_take_ends_by_a_deadline_and_holds_its_place";
pub(crate) const WHOLE: &str = "no_message_is_lost_or_invented_and_nothing_is_left";
const AT_EVERY_POINT: &str = "every_future_may_be_dropped_at_every_point";
const NEXT_DROPPED: &str = "a_next_that_is_dropped_loses_no_command_no_call_and_no_change";
const ANSWER_DROPPED: &str = "an_answer_that_is_polled_once_and_dropped_has_been_given";
const CALL_DROPPED: &str = "a_call_that_is_dropped_unanswered_is_the_caller_s_time_out_and_no_more";
const BESIDE_OTHERS: &str = "what_is_dropped_on_a_connection_or_a_pool_disturbs_none_of_its_devices";
const COMMAND_ANSWERED: &str = "a_command_comes_with_its_properties_and_its_word_reaches_the_hub";
const EVENTS_CUT: &str = "cuts_while_events_are_read_lose_none_and_give_none_twice";
const EVENTS_DROPPED: &str = "what_is_dropped_of_a_reader_loses_no_event_and_leaves_nothing_behind";
const SERVICE_DROPPED: &str = "what_is_dropped_of_a_service_is_withdrawn_or_flies_on";
const FEEDBACK_SETTLED: &str = "feedback_comes_until_it_is_settled_through_cuts_too";
const FEEDBACK_DROPPED: &str = "what_is_dropped_of_feedback_comes_to_the_next_who_asks";
const GONE: &str = "a_hub_that_goes_away_is_a_lost_connection_and_a_message_on_its_way_is_unknown";
const BYTES: &str = "a_cut_after_any_byte_of_a_session_loses_nothing_and_keeps_the_order";
const FAULTS: &str = "each_fault_at_each_phase_recovers_or_ends_with_its_error";
const NOTHING_LEFT: &str = "nothing_is_left_of_a_client_that_was_closed_dropped_or_never_connected";
const PLAIN: &str = "what_is_only_data_tells_the_hub_nothing_when_it_is_dropped";
const BUILDERS: &str = "nobody_is_contacted_before_a_builder_connects";
const CREDENTIAL_DROPPED: &str = "what_a_credential_was_asked_is_dropped_in_time_and_with_the_client";
const SYSTEM_NETWORK: &str = "what_is_dropped_of_the_systems_network_leaves_no_stream";
const FLIES_ON: &str = "a_message_whose_send_is_dropped_while_it_flies_comes_to_the_hub_after_a_cut";
const IN_BATCHES: &str = "five_thousand_messages_do_not_stall_in_batches_or_without";
