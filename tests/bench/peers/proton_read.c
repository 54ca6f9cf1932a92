/* Reads messages with Proton C, and says how fast that went.
 *
 * usage: proton_read HOST PORT COUNT CREDIT CA USER PASSWORD ADDRESS...
 *
 * A link for each address; each has CREDIT messages' credit, topped up when half of it is used. Each message is decoded, as an
 * application's would be, accepted and settled. "-" for CA is plain TCP, "-" for USER is ANONYMOUS.
 *
 * stdout: one JSON object {"count", "bytes", "seconds", "cpu_us"}, from the first message to the last; the bytes are those of
 * bodies, the CPU that of this process. Any error of the connection ends it with exit code 1. */

#include "peer.h"

#include <proton/delivery.h>
#include <proton/message.h>

static struct {
    char **addresses;
    int links;
    long count, credit;
    long got, bytes;
    pn_message_t *message;
    char *buffer;
    moment_t started, ended;
} job;

enum { ROOM = 1 << 20 };

static void open_links(pn_connection_t *connection) {
    pn_session_t *session = pn_session(connection);
    pn_connection_open(connection);
    pn_session_open(session);
    for (int at = 0; at < job.links; at++) {
        char name[32];
        snprintf(name, sizeof name, "reader-%d", at);
        pn_link_t *link = pn_receiver(session, name);
        pn_terminus_set_address(pn_link_source(link), job.addresses[at]);
        pn_link_open(link);
        pn_link_flow(link, (int)job.credit);
    }
}

static void take(pn_event_t *event) {
    pn_delivery_t *delivery = pn_event_delivery(event);
    pn_link_t *link = pn_event_link(event);
    if (!pn_delivery_readable(delivery) || pn_delivery_partial(delivery)) return;
    if (job.got == 0) job.started = now();
    size_t size = pn_delivery_pending(delivery);
    if (size > ROOM || pn_link_recv(link, job.buffer, size) != (ssize_t)size) fail("a message", NULL);
    pn_message_clear(job.message);
    if (pn_message_decode(job.message, job.buffer, size)) fail("decoding", NULL);
    pn_data_t *body = pn_message_body(job.message);
    if (pn_data_next(body)) job.bytes += (long)pn_data_get_bytes(body).size;
    pn_delivery_update(delivery, PN_ACCEPTED);
    pn_delivery_settle(delivery);
    if (pn_link_credit(link) < job.credit / 2) pn_link_flow(link, (int)(job.credit - pn_link_credit(link)));
    if (++job.got == job.count) {
        job.ended = now();
        pn_connection_close(pn_event_connection(event));
    }
}

static bool handle(pn_event_t *event) {
    switch (pn_event_type(event)) {
    case PN_CONNECTION_INIT:
        open_links(pn_event_connection(event));
        break;
    case PN_DELIVERY:
        if (job.got < job.count) take(event);
        break;
    default:
        return goes_on(event, job.got >= job.count);
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: proton_read HOST PORT COUNT CREDIT CA USER PASSWORD ADDRESS...\n");
        return 2;
    }
    job.count = atol(argv[3]);
    job.credit = atol(argv[4]);
    job.addresses = argv + 8;
    job.links = argc - 8;
    job.message = pn_message();
    job.buffer = malloc(ROOM);
    work_at(argv[1], argv[2], argv[5], argv[6], argv[7]);
    return report(job.got, job.count, job.bytes, job.started, job.ended);
}
