/* Sends telemetry with Proton C, and says how fast that went.
 *
 * usage: proton_send HOST PORT ADDRESS COUNT SIZE WINDOW [CA USER PASSWORD]
 *
 * Unsettled, at most WINDOW messages without an outcome; each is encoded anew, as an application's would be. "-" for CA
 * is plain TCP; with a user it is SASL PLAIN, without ANONYMOUS.
 *
 * stdout: one JSON object {"count", "seconds", "cpu_us"}, from the first message to the last outcome; the CPU is that of
 * this process. Any outcome but accepted, and any error of the connection, ends it with exit code 1. */

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
    const char *address;
    long count, size, window;
    long sent, accepted;
    pn_message_t *message;
    char *body, *encoded;
    size_t room;
    double started, ended, cpu_started, cpu_ended;
} job;

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
    fprintf(stderr, "proton_send: %s: %s %s\n", what, name ? name : "", text ? text : "");
    exit(1);
}

static void send_one(pn_link_t *link) {
    size_t size = job.room;
    pn_message_clear(job.message);
    pn_message_set_inferred(job.message, true);
    pn_data_put_binary(pn_message_body(job.message), pn_bytes((size_t)job.size, job.body));
    if (pn_message_encode(job.message, job.encoded, &size)) fail("encoding", NULL);
    if (job.sent == 0) {
        job.started = wall();
        job.cpu_started = cpu();
    }
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
            job.ended = wall();
            job.cpu_ended = cpu();
            pn_connection_close(pn_event_connection(event));
        } else {
            send_more(pn_event_link(event));
        }
        break;
    }
    case PN_TRANSPORT_ERROR:
        fail("transport", pn_transport_condition(pn_event_transport(event)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        if (job.accepted < job.count) fail("closed", pn_connection_remote_condition(pn_event_connection(event)));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        if (job.accepted < job.count) fail("ended", pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        if (job.accepted < job.count) fail("detached", pn_link_remote_condition(pn_event_link(event)));
        break;
    case PN_PROACTOR_INACTIVE:
        return false;
    default:
        break;
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc != 7 && argc != 8 && argc != 10) {
        fprintf(stderr, "usage: proton_send HOST PORT ADDRESS COUNT SIZE WINDOW [CA [USER PASSWORD]]\n");
        return 2;
    }
    const char *host = argv[1], *ca = argc > 7 ? argv[7] : "-";
    job.address = argv[3];
    job.count = atol(argv[4]);
    job.size = atol(argv[5]);
    job.window = atol(argv[6]);
    job.room = (size_t)job.size + 512;
    job.body = malloc((size_t)job.size + 1);
    job.encoded = malloc(job.room);
    memset(job.body, 'x', (size_t)job.size);
    job.message = pn_message();

    pn_proactor_t *proactor = pn_proactor();
    pn_connection_t *connection = pn_connection();
    pn_transport_t *transport = pn_transport();
    pn_connection_set_container(connection, "proton_send");
    pn_connection_set_hostname(connection, host);
    if (argc > 9) {
        pn_connection_set_user(connection, argv[8]);
        pn_connection_set_password(connection, argv[9]);
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
    printf("{\"count\": %ld, \"seconds\": %.6f, \"cpu_us\": %.1f}\n", job.accepted, job.ended - job.started,
           (job.cpu_ended - job.cpu_started) * 1e6);
    return job.accepted == job.count ? 0 : 1;
}
