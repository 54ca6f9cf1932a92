/* Reads messages with Proton C, and says how fast that went.
 *
 * usage: proton_read HOST PORT COUNT CREDIT CA USER PASSWORD ADDRESS...
 *
 * A link for each address; each has CREDIT messages' credit, topped up when half of it is used. Each message is decoded, as an
 * application's would be, accepted and settled. "-" for CA is plain TCP, "-" for USER is ANONYMOUS.
 *
 * stdout: one JSON object {"count", "bytes", "seconds", "cpu_us"}, from the first message to the last; the bytes are those of
 * bodies, the CPU that of this process. Any error of the connection ends it with exit code 1. */

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/ssl.h>
#include <proton/transport.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static struct {
    char **addresses;
    int links;
    long count, credit;
    long got, bytes;
    pn_message_t *message;
    char *buffer;
    double started, ended, cpu_started, cpu_ended;
} job;

enum { ROOM = 1 << 20 };

static double wall(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 + (double)used.ru_stime.tv_sec +
           (double)used.ru_stime.tv_usec / 1e6;
}

static void fail(const char *what, pn_condition_t *why) {
    const char *name = why ? pn_condition_get_name(why) : NULL;
    const char *text = why ? pn_condition_get_description(why) : NULL;
    fprintf(stderr, "proton_read: %s: %s %s\n", what, name ? name : "", text ? text : "");
    exit(1);
}

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
    if (job.got == 0) {
        job.started = wall();
        job.cpu_started = cpu();
    }
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
        job.ended = wall();
        job.cpu_ended = cpu();
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
    case PN_TRANSPORT_ERROR:
        fail("transport", pn_transport_condition(pn_event_transport(event)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        if (job.got < job.count) fail("closed", pn_connection_remote_condition(pn_event_connection(event)));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        if (job.got < job.count) fail("ended", pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        if (job.got < job.count) fail("detached", pn_link_remote_condition(pn_event_link(event)));
        break;
    case PN_PROACTOR_INACTIVE:
        return false;
    default:
        break;
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: proton_read HOST PORT COUNT CREDIT CA USER PASSWORD ADDRESS...\n");
        return 2;
    }
    const char *host = argv[1], *ca = argv[5], *user = argv[6];
    job.count = atol(argv[3]);
    job.credit = atol(argv[4]);
    job.addresses = argv + 8;
    job.links = argc - 8;
    job.message = pn_message();
    job.buffer = malloc(ROOM);

    pn_proactor_t *proactor = pn_proactor();
    pn_connection_t *connection = pn_connection();
    pn_transport_t *transport = pn_transport();
    pn_connection_set_container(connection, "proton_read");
    pn_connection_set_hostname(connection, host);
    if (strcmp(user, "-")) {
        pn_connection_set_user(connection, user);
        pn_connection_set_password(connection, argv[7]);
        pn_sasl_allowed_mechs(pn_sasl(transport), "PLAIN");
        pn_sasl_set_allow_insecure_mechs(pn_sasl(transport), true);
    } else {
        pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
    }
    if (strcmp(ca, "-")) {
        pn_ssl_domain_t *domain = pn_ssl_domain(PN_SSL_MODE_CLIENT);
        if (pn_ssl_domain_set_trusted_ca_db(domain, ca) ||
            pn_ssl_domain_set_peer_authentication(domain, PN_SSL_VERIFY_PEER_NAME, NULL) ||
            pn_ssl_init(pn_ssl(transport), domain, NULL) || pn_ssl_set_peer_hostname(pn_ssl(transport), host)) {
            fail("TLS cannot be set up", NULL);
        }
        pn_ssl_domain_free(domain);
    }
    char address[PN_MAX_ADDR];
    pn_proactor_addr(address, sizeof address, host, argv[2]);
    pn_proactor_connect2(proactor, connection, transport, address);

    for (bool goes_on = true; goes_on;) {
        pn_event_batch_t *batch = pn_proactor_wait(proactor);
        for (pn_event_t *event; goes_on && (event = pn_event_batch_next(batch));) goes_on = handle(event);
        pn_proactor_done(proactor, batch);
    }
    printf("{\"count\": %ld, \"bytes\": %ld, \"seconds\": %.6f, \"cpu_us\": %.1f}\n", job.got, job.bytes,
           job.ended - job.started, (job.cpu_ended - job.cpu_started) * 1e6);
    return job.got == job.count ? 0 : 1;
}
