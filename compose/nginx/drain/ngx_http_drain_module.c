/*
 * Lets kept-alive HTTP/1.1 connections come to their end when a worker exits (reload, stop).
 *
 * nginx closes each idle connection in the instant in which a worker begins to exit. A request that is on its way then is lost,
 * and its client cannot know whether it was carried out. With this module
 *
 *   - every response of a worker that exits says "Connection: close";
 *   - an idle connection is closed DRAIN milliseconds later, and serves a request that arrives until then.
 *
 * nginx 1.27.4 has the second half of this (keepalive_min_timeout). HTTP/2 has GOAWAY, by which clients know what to send again.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#define DRAIN 5000

/* A connection that is about to become idle. In the connection's own memory; `connection` is reused for others later. */
typedef struct {
    ngx_event_t event;
    ngx_connection_t *connection;
    ngx_atomic_uint_t number;
} ngx_http_drain_t;

static ngx_int_t ngx_http_drain_init(ngx_conf_t *cf);

static ngx_http_output_header_filter_pt ngx_http_next_header_filter;
/* nginx' own handler of idle connections, a private function: known from the first connection that has it. */
static ngx_event_handler_pt ngx_http_drain_keepalive_handler;

static ngx_http_module_t ngx_http_drain_module_ctx = {
    NULL, ngx_http_drain_init, NULL, NULL, NULL, NULL, NULL, NULL
};

ngx_module_t ngx_http_drain_module = {
    NGX_MODULE_V1, &ngx_http_drain_module_ctx, NULL, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_drain_header_filter(ngx_http_request_t *r)
{
    if (ngx_exiting) {
        r->keepalive = 0;
    }
    return ngx_http_next_header_filter(r);
}


/* In place of nginx' handler while a connection is idle: for its next request, its time-out, and the order to close it. */
static void
ngx_http_drain_idle_handler(ngx_event_t *rev)
{
    ngx_connection_t *c = rev->data;

    if (c->close && ngx_exiting && !rev->timedout) {
        c->close = 0;
        c->idle = 0;
        ngx_reusable_connection(c, 0);
        ngx_add_timer(rev, DRAIN);
        return;
    }
    ngx_http_drain_keepalive_handler(rev);
}


/* The turn of the event loop after a response: nginx has made the connection idle by now, or closed it, or reads a request. */
static void
ngx_http_drain_event_handler(ngx_event_t *ev)
{
    ngx_http_drain_t *d = ev->data;
    ngx_connection_t *c = d->connection;

    if (c->number != d->number || c->fd == (ngx_socket_t) -1 || !c->idle || c->close) {
        return;
    }
    ngx_http_drain_keepalive_handler = c->read->handler;
    c->read->handler = ngx_http_drain_idle_handler;
}


static void
ngx_http_drain_cleanup(void *data)
{
    ngx_http_drain_t *d = data;

    if (d->event.posted) {
        ngx_delete_posted_event(&d->event);
    }
}


static ngx_int_t
ngx_http_drain_log_handler(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    ngx_pool_cleanup_t *cln;
    ngx_http_drain_t *d;

#if (NGX_HTTP_V2)
    if (r->stream) {
        return NGX_OK;
    }
#endif
    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_drain_cleanup) {
            break;
        }
    }
    if (cln == NULL) {
        cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_drain_t));
        if (cln == NULL) {
            return NGX_OK;
        }
        ngx_memzero(cln->data, sizeof(ngx_http_drain_t));
        cln->handler = ngx_http_drain_cleanup;
    }
    d = cln->data;
    d->connection = c;
    d->number = c->number;
    d->event.handler = ngx_http_drain_event_handler;
    d->event.data = d;
    d->event.log = c->log;
    if (!d->event.posted) {
        ngx_post_event(&d->event, &ngx_posted_next_events);
    }
    return NGX_OK;
}


static ngx_int_t
ngx_http_drain_init(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);

    if (h == NULL) {
        return NGX_ERROR;
    }
    *h = ngx_http_drain_log_handler;
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_drain_header_filter;
    return NGX_OK;
}
