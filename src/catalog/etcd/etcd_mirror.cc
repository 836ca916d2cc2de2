// EtcdCatalog: the mirror, and whether anybody answers.
#include "catalog/etcd/etcd_catalog.h"
#include "catalog/etcd/paths.h"

namespace corelet {

using namespace etcd;

namespace {
constexpr Duration k_probe_every = 1_s;
constexpr Duration k_patience = 5_s;
constexpr Duration k_lease_every = 600_s;
}  // namespace

// Everything there is, then each change after it; anew only when changes in between are no longer kept.
Task<void> EtcdCatalog::mirror_loop() {
    for (;;) {
        auto const followed = loaded_ ? co_await follow() : co_await load();
        if (followed) continue;
        log_debug(env_.log, "catalog.mirror_interrupted", followed.error().to_string());
        co_await client_.pause();
    }
}

Task<Result<void>> EtcdCatalog::load() {
    CO_TRY(auto const all, co_await range({}, env_.clock.now() + k_patience));
    pb::CatalogPullReply whole;
    whole.set_whole(true);
    whole.set_revision(all.revision.v);
    for (const KeyValue& item : all.items) encode_item(item, *whole.add_changes()->mutable_item());
    mirror_.mirror(whole);
    loaded_ = true;
    hub_.changed();
    co_return {};
}

// Until the stream of changes breaks off; it goes on from the mirror's revision.
Task<Result<void>> EtcdCatalog::follow() {
    stream_turn_ = client_.turn();
    CO_TRY(stream_, co_await client_.connect(env_.clock.now() + k_patience));
    std::string request = encode_watch(keys_, mirror_.revision().next());
    CO_TRY_VOID(co_await stream_->open(std::string(k_watch_path), std::move(request)));
    while (loaded_) {
        CO_TRY(std::string const line, co_await stream_->next_line());
        CO_TRY_VOID(learn(line));
    }
    co_return {};
}

Result<void> EtcdCatalog::learn(std::string_view line) {
    TRY(auto const told, decode_watch(keys_, line));
    if (told.compacted) loaded_ = false;
    if (told.ended) return fail(Code::kClosed, "etcd ended the watch");
    if (told.revision.is_zero()) return {};
    pb::CatalogPullReply changes;
    changes.set_revision(told.revision.v);
    for (const WatchAnswer::Change& change : told.changes) {
        auto* const out = changes.add_changes();
        encode_item(change.item, *out->mutable_item());
        out->set_deleted(change.deleted);
    }
    mirror_.mirror(changes);
    hub_.changed();
    return {};
}

// A stream says nothing when its member is gone, or has fallen out with the others: so somebody asks, and when
// another endpoint has its turn the stream moves there too.
Task<void> EtcdCatalog::probe_loop() {
    Instant lease_renewed = env_.clock.now();
    for (;;) {
        co_await env_.clock.sleep(k_probe_every);
        if (env_.clock.now() - last_contact_ >= k_probe_every) {
            auto const tried = co_await client_.try_once(std::string(k_range_path), encode_probe(keys_),
                                                         env_.clock.now() + k_patience);
            if (tried.answer && decode_range(keys_, *tried.answer)) heard();
        }
        if (stream_ && stream_turn_ != client_.turn()) stream_->close();
        if (slots_lease_.is_zero() || env_.clock.now() - lease_renewed < k_lease_every) continue;
        LeaseId const lease = slots_lease_;
        auto const renewed = co_await leases_.renew(lease, env_.clock.now() + k_patience);
        if (renewed) lease_renewed = env_.clock.now();
        if (!renewed && renewed.error().code == Code::kNotFound && slots_lease_ == lease) slots_lease_ = {};
    }
}

}  // namespace corelet
