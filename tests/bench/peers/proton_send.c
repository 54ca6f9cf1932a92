/* Sends telemetry with Proton C, and says how fast that went.
 *
 * usage: proton_send HOST PORT ADDRESS COUNT SIZE WINDOW [CA USER PASSWORD]
 *
 * Unsettled, at most WINDOW messages without an outcome; each is encoded anew, as an application's would be. "-" for CA
 * is plain TCP; with a user it is SASL PLAIN, without ANONYMOUS.
 *
 * stdout: one JSON object {"count", "bytes", "seconds", "cpu_us"}, from the first message to the last outcome; the CPU is that of
 * this process. Any outcome but accepted, and any error of the connection, ends it with exit code 1. */

#include "peer.h"

#include <proton/delivery.h>
#include <proton/message.h>

static struct {
    const char *address;
    long count, size, window;
    long sent, accepted;
    pn_message_t *message;
    char *body, *encoded;
    size_t room;
    moment_t started, ended;
} job;

static void send_one(pn_link_t *link) {
    size_t size = job.room;
    pn_message_clear(job.message);
    pn_message_set_inferred(job.message, true);
    pn_data_put_binary(pn_message_body(job.message), pn_bytes((size_t)job.size, job.body));
    if (pn_message_encode(job.message, job.encoded, &size)) fail("encoding", NULL);
    if (job.sent == 0) job.started = now();
    job.sent++;
    pn_delivery(link, pn_dtag((const char *)&job.sent, sizeof job.sent));
    pn_link_send(link, job.encoded, size);
    pn_link_advance(link);
}

static void send_more(pn_link_t *link) {
    while (job.sent < job.count && job.sent - job.accepted < job.window && pn_link_credit(link) > 0) send_one(link);
}

static bool handle(pn_event_t *event) {
    switch (pn_event_type(event)) {
    case PN_CONNECTION_INIT: {
        pn_session_t *session = pn_session(pn_event_connection(event));
        pn_link_t *link = pn_sender(session, "telemetry");
        pn_connection_open(pn_event_connection(event));
        pn_session_open(session);
        pn_terminus_set_address(pn_link_target(link), job.address);
        pn_link_set_snd_settle_mode(link, PN_SND_UNSETTLED);
        pn_link_open(link);
        break;
    }
    case PN_LINK_FLOW:
        send_more(pn_event_link(event));
        break;
    case PN_DELIVERY: {
        pn_delivery_t *delivery = pn_event_delivery(event);
        if (pn_delivery_remote_state(delivery) != PN_ACCEPTED) {
            fail("an outcome", pn_disposition_condition(pn_delivery_remote(delivery)));
        }
        pn_delivery_settle(delivery);
        if (++job.accepted == job.count) {
            job.ended = now();
            pn_connection_close(pn_event_connection(event));
        } else {
            send_more(pn_event_link(event));
        }
        break;
    }
    default:
        return goes_on(event, job.accepted >= job.count);
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc != 7 && argc != 8 && argc != 10) {
        fprintf(stderr, "usage: proton_send HOST PORT ADDRESS COUNT SIZE WINDOW [CA [USER PASSWORD]]\n");
        return 2;
    }
    job.address = argv[3];
    job.count = atol(argv[4]);
    job.size = atol(argv[5]);
    job.window = atol(argv[6]);
    job.room = (size_t)job.size + 512;
    job.body = malloc((size_t)job.size + 1);
    job.encoded = malloc(job.room);
    memset(job.body, 'x', (size_t)job.size);
    job.message = pn_message();
    const char *user = argc > 9 ? argv[8] : NULL, *password = argc > 9 ? argv[9] : NULL;
    work_at(argv[1], argv[2], argc > 7 ? argv[7] : NULL, user, password);
    return report(job.accepted, job.count, job.accepted * job.size, job.started, job.ended);
}
