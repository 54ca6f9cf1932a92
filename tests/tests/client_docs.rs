//! Goal: whoever uses the client reads of everything that can be dropped or lost what holds then, and finds the test for it.
//! Method: the sources. What the sections say is held by tests that are named here, item by item.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The documentation that stands right before this line, and whether it says nothing at all.
fn docs_before(lines: &[&str], at: usize) -> String {
    let before = lines[..at].iter().rev();
    let mut docs: Vec<_> = before
        .take_while(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("#[")
        })
        .map(|line| line.trim())
        .collect();
    docs.reverse();
    docs.join("\n")
}

fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/iothub-amqp/src");
    let mut sources: Vec<_> = files(&folder)
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    sources.sort();
    assert!(sources.len() > 20);
    sources
}

#[test]
fn every_async_function_says_what_it_means_to_drop_it() {
    let mut count = 0;
    for (path, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("pub async fn") {
                count += 1;
                assert!(
                    docs_before(&lines, at).contains("# Cancel safety"),
                    "{path}:{}: {line}",
                    at + 1
                );
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// Whatever says what is delivered, or what it means to drop it, and the tests that hold it to that: all its sentences, by
/// name.
const BACKED: [(&str, &[&str]); 66] = [
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
            AT_EVERY_POINT,
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
    (
        "DeviceClient::close",
        &[
            AT_EVERY_POINT,
            "what_a_link_may_have_handed_over_unheard_is_never_said_to_be_not_sent",
            WHOLE,
        ],
    ),
    ("DeviceClient::close_within", &[AT_EVERY_POINT]),
    ("DeviceClient::commands", &[AT_EVERY_POINT]),
    (
        "DeviceClient::enqueue",
        &[
            AT_EVERY_POINT,
            "with_no_credit_for_ever_the_queue_is_bounded_and_every_send_ends_in_time",
            WHOLE,
        ],
    ),
    (
        "DeviceClient::inputs",
        &[AT_EVERY_POINT, "a_module_hears_its_inputs"],
    ),
    ("DeviceClient::methods", &[AT_EVERY_POINT]),
    (
        "DeviceClient::send",
        &[
            AT_EVERY_POINT,
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
    ("MethodCall::respond", &[ANSWER_DROPPED]),
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
    (
        "Network",
        &[
            "nothing_is_left_of_a_client_that_was_closed_dropped_or_never_connected",
            "each_fault_at_each_phase_recovers_or_ends_with_its_error",
            AT_EVERY_POINT,
        ],
    ),
    ("Pool", &["a_pool_spreads_devices_evenly", BESIDE_OTHERS]),
    ("Pool::close", &[BESIDE_OTHERS]),
    ("Pool::open", &[BESIDE_OTHERS]),
    (
        "SendError",
        &[
            "what_a_link_may_have_handed_over_unheard_is_never_said_to_be_not_sent",
            "a_hub_that_goes_away_is_a_lost_connection_and_a_message_on_its_way_is_unknown",
            "the_outcomes_are_told_apart_and_the_words_of_the_hub_arrive",
            WHOLE,
        ],
    ),
    (
        "Ticket",
        &[AT_EVERY_POINT, "after_the_end_every_call_says_why_at_once", WHOLE],
    ),
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
    (
        "Events",
        &[
            EVENTS_CUT,
            EVENTS_DROPPED,
            "what_the_hub_has_dropped_is_told_and_nothing_else_is",
        ],
    ),
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
];

const WHOLE: &str = "no_message_is_lost_or_invented_and_nothing_is_left";
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
const IN_BATCHES: &str = "five_thousand_messages_do_not_stall_in_batches_or_without";

/// The types, and the functions with the type that they are of, whose docs have one of these headings.
fn headed(headings: &[&str]) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    for (_, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        let mut of = String::new();
        for (at, line) in lines.iter().enumerate() {
            let mut words = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty());
            let (first, second) = (words.next(), words.next());
            let item = match (first, second, words.next()) {
                (Some("impl"), Some(name), _) => {
                    of = name.to_owned();
                    continue;
                }
                (Some("pub"), Some("struct" | "enum"), Some(name)) => name.to_owned(),
                (Some("pub"), Some("trait"), Some(name)) => {
                    of = name.to_owned();
                    of.clone()
                }
                (Some("pub"), Some("fn"), Some(name)) | (Some("fn"), Some(name), _) => {
                    format!("{of}::{name}")
                }
                (Some("pub"), Some("async"), Some("fn")) => {
                    format!("{of}::{}", words.next().unwrap_or_default())
                }
                _ => continue,
            };
            let docs = docs_before(&lines, at);
            if headings.iter().any(|heading| docs.contains(heading)) {
                items.insert(item);
            }
        }
    }
    items
}

#[test]
fn what_the_docs_say_of_delivery_and_cancellation_is_held_by_tests_that_exist() {
    let backed: BTreeSet<_> = BACKED.iter().map(|(item, _)| (*item).to_owned()).collect();
    assert_eq!(backed, headed(&["# Delivery", "# Cancel safety"]));
    let tests = tests();
    for (item, names) in BACKED {
        assert!(!names.is_empty(), "{item}");
        for name in names {
            assert!(tests.contains(*name), "{item}: there is no test {name}");
        }
    }
}

/// What the engine does that a client has to be kept from, by the symptom, and the tests that show it is.
const ENGINE: [(&str, &[&str]); 16] = [
    (
        "a pending send never resolves when the connection dies",
        &[
            "a_message_that_flew_when_the_connection_was_cut_is_sent_again_before_newer_ones",
            "a_hub_that_goes_away_is_a_lost_connection_and_a_message_on_its_way_is_unknown",
        ],
    ),
    (
        "nor may an attach or a begin",
        &["an_attach_that_the_engine_forgets_ends_with_its_connection_and_not_by_its_time_out"],
    ),
    (
        "a blocked write freezes reads and timers",
        &[
            "a_hub_that_stops_reading_freezes_no_deadline",
            "the_peer_stops_reading",
            "a_peer_that_stops_reading_blocks_no_write_and_no_read_and_ends_after_the_stall_time",
        ],
    ),
    (
        "one write a frame",
        &["frames_that_wait_for_the_writer_leave_together"],
    ),
    (
        "a closed session window buffers without bound",
        &["a_session_window_of_0_lets_nothing_pile_up_and_nothing_be_lost"],
    ),
    (
        "an open of over 504 bytes is corrupted",
        &["the_longest_open_stays_below_what_the_engine_corrupts"],
    ),
    (
        "a SASL frame of over 512 bytes is an I/O error",
        &[
            "a_token_too_long_for_a_sasl_frame_is_refused_before_anything_is_dialled",
            "the_longest_token_that_is_let_through_goes_through_the_engine",
        ],
    ),
    (
        "a frame shorter than its header panics",
        &[
            "sizes_below_a_frame_header_are_refused",
            "every_hostile_sequence_ends_the_connection_with_a_typed_error_before_open_and_after",
            "hostile_bytes_during_sasl_are_caught_too",
        ],
    ),
    (
        "nested values overflow the stack",
        &[
            "the_nested_attach_that_overflows_a_recursive_decoder_is_refused",
            "a_message_that_would_overflow_a_decoder_s_stack_is_stopped_however_it_is_cut",
        ],
    ),
    (
        "a message without end is gathered without bound",
        &["a_message_that_never_ends_is_stopped_at_a_bound"],
    ),
    (
        "a disposition of any width is walked id by id",
        &[
            "dispositions_wider_than_any_window_are_refused",
            "a_wide_disposition_is_seen_in_each_of_its_encodings",
        ],
    ),
    (
        "it spins in end and close towards a silent peer",
        &[
            "a_hub_that_falls_silent_times_out_in_the_phase_it_fell_silent_in",
            "each_fault_at_each_phase_recovers_or_ends_with_its_error",
        ],
    ),
    (
        "an idle time-out is kept to the last moment",
        &["the_peer_hears_of_this_side_twice_within_its_idle_time_out"],
    ),
    (
        "a silent peer is an error without a reason",
        &[
            "a_connection_that_is_gone_without_a_word_is_found_out_by_silence",
            "an_idle_time_out_while_something_is_begun_or_attached_is_told_as_what_it_is",
        ],
    ),
    (
        "a refused attach looks like one that was taken",
        &["a_link_that_is_refused_after_it_was_attached_tells_why_and_nothing_was_sent"],
    ),
    (
        "a link's name and node are taken until its detach is answered",
        &[
            "a_session_begun_anew_attaches_nothing_beside_the_links_of_the_one_before",
            WHOLE,
        ],
    ),
];

#[test]
fn each_way_in_which_the_engine_bites_has_its_tests() {
    let tests = tests();
    for (bite, names) in ENGINE {
        for name in names {
            assert!(tests.contains(*name), "{bite}: there is no test {name}");
        }
    }
}

/// The names of all tests of the client and of the stream that it stands on.
fn tests() -> BTreeSet<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = ["iothub-amqp/src", "iothub-frame/src", "iothub-frame/tests"];
    let crates = crates.map(|folder| here.join("../crates").join(folder));
    let folders = [&[here.join("tests")][..], &crates].concat();
    let mut tests = BTreeSet::new();
    for path in folders.iter().flat_map(|folder| files(folder)) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let is_test = pair[0].starts_with("#[test]") || pair[0].starts_with("#[tokio::test");
            let name = pair[1].trim_start_matches("async ").strip_prefix("fn ");
            if let Some((name, _)) = name.filter(|_| is_test).and_then(|rest| rest.split_once('(')) {
                tests.insert(name.to_owned());
            }
        }
    }
    tests
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What messages, commands, methods and the twin go through.
const CARRIERS: [&str; 13] = [
    "DeviceClient",
    "Connection",
    "Pool",
    "Commands",
    "Command",
    "EventsClient",
    "Events",
    "Methods",
    "MethodCall",
    "Twin",
    "DesiredChanges",
    "Ticket",
    "SendError",
];

#[test]
fn every_type_that_carries_something_says_what_is_delivered() {
    let sources = sources();
    for name in CARRIERS {
        let docs = sources.iter().find_map(|(_, text)| {
            let lines: Vec<_> = text.lines().collect();
            let at = lines.iter().position(|line| {
                [format!("pub struct {name} {{"), format!("pub enum {name} {{")].contains(&(*line).to_owned())
            })?;
            Some(docs_before(&lines, at))
        });
        let docs = docs.unwrap_or_else(|| panic!("there is no {name}"));
        assert!(docs.contains("# Delivery"), "{name}: {docs}");
        if name != "SendError" {
            assert!(docs.contains("# Cancel safety"), "{name}: {docs}");
        }
    }
}
