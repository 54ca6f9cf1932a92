/* What a Proton C program that is measured does before and after its work: how time is taken, how it connects, how it ends.
 * For one program each, which has a `handle` for what happens to it. */

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/event.h>
#include <proton/link.h>
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

/* In seconds; the CPU is that of this process. */
typedef struct {
    double wall, cpu;
} moment_t;

static moment_t now(void) {
    struct timespec wall;
    struct rusage used;
    clock_gettime(CLOCK_MONOTONIC, &wall);
    getrusage(RUSAGE_SELF, &used);
    moment_t now = {
        .wall = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9,
        .cpu = (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 + (double)used.ru_stime.tv_sec +
               (double)used.ru_stime.tv_usec / 1e6,
    };
    return now;
}

static void fail(const char *what, pn_condition_t *why) {
    const char *name = why ? pn_condition_get_name(why) : NULL;
    const char *text = why ? pn_condition_get_description(why) : NULL;
    fprintf(stderr, "%s: %s %s\n", what, name ? name : "", text ? text : "");
    exit(1);
}

/* What no program survives before its work is done, which nothing else looks at. False when all is over. */
static bool goes_on(pn_event_t *event, bool done) {
    switch (pn_event_type(event)) {
    case PN_TRANSPORT_ERROR:
        fail("transport", pn_transport_condition(pn_event_transport(event)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        if (!done) fail("closed", pn_connection_remote_condition(pn_event_connection(event)));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        if (!done) fail("ended", pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        if (!done) fail("detached", pn_link_remote_condition(pn_event_link(event)));
        break;
    case PN_PROACTOR_INACTIVE:
        return false;
    default:
        break;
    }
    return true;
}

static bool handle(pn_event_t *event);

/* Connects, by SASL PLAIN if there is a user ("-" and NULL are none), with TLS if there is a CA (the same), and handles what
 * happens until all is over. */
static void work_at(const char *host, const char *port, const char *ca, const char *user, const char *password) {
    pn_proactor_t *proactor = pn_proactor();
    pn_connection_t *connection = pn_connection();
    pn_transport_t *transport = pn_transport();
    pn_connection_set_container(connection, "peer");
    pn_connection_set_hostname(connection, host);
    if (user && strcmp(user, "-")) {
        pn_connection_set_user(connection, user);
        pn_connection_set_password(connection, password);
        pn_sasl_allowed_mechs(pn_sasl(transport), "PLAIN");
        pn_sasl_set_allow_insecure_mechs(pn_sasl(transport), true);
    } else {
        pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
    }
    if (ca && strcmp(ca, "-")) {
        pn_ssl_domain_t *domain = pn_ssl_domain(PN_SSL_MODE_CLIENT);
        if (pn_ssl_domain_set_trusted_ca_db(domain, ca) ||
            pn_ssl_domain_set_peer_authentication(domain, PN_SSL_VERIFY_PEER_NAME, NULL) ||
            pn_ssl_init(pn_ssl(transport), domain, NULL) || pn_ssl_set_peer_hostname(pn_ssl(transport), host)) {
            fail("TLS cannot be set up", NULL);
        }
        pn_ssl_domain_free(domain);
    }
    char address[PN_MAX_ADDR];
    pn_proactor_addr(address, sizeof address, host, port);
    pn_proactor_connect2(proactor, connection, transport, address);
    for (bool more = true; more;) {
        pn_event_batch_t *batch = pn_proactor_wait(proactor);
        for (pn_event_t *event; more && (event = pn_event_batch_next(batch));) more = handle(event);
        pn_proactor_done(proactor, batch);
    }
}

/* The one line of stdout. */
static int report(long count, long wanted, long bytes, moment_t from, moment_t to) {
    printf("{\"count\": %ld, \"bytes\": %ld, \"seconds\": %.6f, \"cpu_us\": %.1f}\n", count, bytes, to.wall - from.wall,
           (to.cpu - from.cpu) * 1e6);
    return count == wanted ? 0 : 1;
}
