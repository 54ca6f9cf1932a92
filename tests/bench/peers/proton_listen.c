/* A listener on Proton C that accepts every message, to measure senders by.
 *
 * usage: proton_listen [CERTIFICATE KEY]
 *
 * Grants 2,000 credits, and settles every delivery as accepted. To tokens put to the node "$cbs" it says 200, whatever
 * they are. Serves until it is killed.
 *
 * stdout: one line with the port. */

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/listener.h>
#include <proton/message.h>
#include <proton/netaddr.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/ssl.h>
#include <proton/transport.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CREDIT = 2000, LARGEST = 1024 * 1024 };

static char scratch[LARGEST];
static pn_ssl_domain_t *domain;

static bool is_cbs(pn_terminus_t *terminus) {
    const char *address = pn_terminus_get_address(terminus);
    return address && !strcmp(address, "$cbs");
}

static pn_link_t *cbs_reply_link(pn_connection_t *connection) {
    for (pn_link_t *link = pn_link_head(connection, 0); link; link = pn_link_next(link, 0)) {
        if (pn_link_is_sender(link) && is_cbs(pn_link_remote_source(link))) return link;
    }
    return NULL;
}

/* Says 200 to the request of `size` bytes in `scratch`. */
static void answer(pn_link_t *link, size_t size) {
    static long tag;
    char encoded[1024];
    size_t room = sizeof encoded;
    pn_message_t *request = pn_message(), *reply = pn_message();
    if (!link || pn_message_decode(request, scratch, size)) exit(1);
    pn_message_set_correlation_id(reply, pn_message_get_id(request));
    pn_data_t *properties = pn_message_properties(reply);
    pn_data_put_map(properties);
    pn_data_enter(properties);
    pn_data_put_string(properties, pn_bytes(11, "status-code"));
    pn_data_put_int(properties, 200);
    pn_data_exit(properties);
    pn_data_put_null(pn_message_body(reply));
    if (pn_message_encode(reply, encoded, &room)) exit(1);
    tag++;
    pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
    pn_link_send(link, encoded, room);
    pn_delivery_settle(pn_link_current(link));
    pn_message_free(request);
    pn_message_free(reply);
}

static void received(pn_delivery_t *delivery) {
    pn_link_t *link = pn_delivery_link(delivery);
    if (!pn_link_is_receiver(link) || !pn_delivery_readable(delivery) || pn_delivery_partial(delivery)) return;
    size_t size = pn_delivery_pending(delivery);
    if (size > LARGEST) exit(1);
    pn_link_recv(link, scratch, size);
    if (is_cbs(pn_link_remote_target(link))) {
        answer(cbs_reply_link(pn_session_connection(pn_link_session(link))), size);
    }
    pn_delivery_update(delivery, PN_ACCEPTED);
    pn_delivery_settle(delivery);
    if (pn_link_credit(link) <= CREDIT / 2) pn_link_flow(link, CREDIT - pn_link_credit(link));
}

static void handle(pn_event_t *event) {
    switch (pn_event_type(event)) {
    case PN_LISTENER_OPEN: {
        char port[PN_MAX_ADDR];
        pn_netaddr_host_port(pn_listener_addr(pn_event_listener(event)), NULL, 0, port, sizeof port);
        printf("%s\n", port);
        fflush(stdout);
        break;
    }
    case PN_LISTENER_ACCEPT: {
        pn_transport_t *transport = pn_transport();
        pn_transport_set_server(transport);
        pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
        if (domain) pn_ssl_init(pn_ssl(transport), domain, NULL);
        pn_listener_accept2(pn_event_listener(event), NULL, transport);
        break;
    }
    case PN_CONNECTION_REMOTE_OPEN:
        pn_connection_open(pn_event_connection(event));
        break;
    case PN_SESSION_REMOTE_OPEN:
        pn_session_open(pn_event_session(event));
        break;
    case PN_LINK_REMOTE_OPEN: {
        pn_link_t *link = pn_event_link(event);
        pn_terminus_copy(pn_link_source(link), pn_link_remote_source(link));
        pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
        pn_link_open(link);
        if (pn_link_is_receiver(link)) pn_link_flow(link, CREDIT);
        break;
    }
    case PN_DELIVERY:
        received(pn_event_delivery(event));
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        pn_link_close(pn_event_link(event));
        break;
    case PN_SESSION_REMOTE_CLOSE:
        pn_session_close(pn_event_session(event));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        pn_connection_close(pn_event_connection(event));
        break;
    case PN_TRANSPORT_ERROR: {
        pn_condition_t *why = pn_transport_condition(pn_event_transport(event));
        fprintf(stderr, "proton_listen: %s\n", pn_condition_get_description(why));
        break;
    }
    default:
        break;
    }
}

int main(int argc, char **argv) {
    if (argc == 3) {
        domain = pn_ssl_domain(PN_SSL_MODE_SERVER);
        if (pn_ssl_domain_set_credentials(domain, argv[1], argv[2], NULL)) return 1;
    } else if (argc != 1) {
        fprintf(stderr, "usage: proton_listen [CERTIFICATE KEY]\n");
        return 2;
    }
    pn_proactor_t *proactor = pn_proactor();
    pn_proactor_listen(proactor, pn_listener(), "127.0.0.1:0", 16);
    for (;;) {
        pn_event_batch_t *batch = pn_proactor_wait(proactor);
        for (pn_event_t *event; (event = pn_event_batch_next(batch));) handle(event);
        pn_proactor_done(proactor, batch);
    }
}
