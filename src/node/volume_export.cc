// VolumeHost, where clients come in: the NBD export of an owned volume, its address, and the record that tells of
// it.
#include "node/export_place.h"
#include "node/volume_serving.h"

namespace corelet {

namespace {

constexpr Duration k_listen_again = 1_s;
constexpr Duration k_publish_again = 200_ms;
constexpr Duration k_publish_again_max = 2_s;

ExportHost export_host(const NodeConfig& config) {
    ExportHost host{config.export_directory, {}, config.insecure};
    for (const Address& address : config.listen)
        if (address.kind == Address::Kind::kTcp && host.host.empty() && address.host != "0.0.0.0" &&
            address.host != "::")
            host.host = address.host;
    return host;
}

}  // namespace

Result<void> VolumeHost::add_export(Serving& serving) {
    std::shared_ptr<BlockDevice> device(serving.mounted, serving.mounted->timed.get());
    TRY_VOID(nbd_.add_export(serving.name, std::move(device)));
    serving.is_served = true;
    return {};
}

// At the first address that can be had. Where it listens already it stays, and its clients with it, if it must or
// may.
void VolumeHost::open_export(Serving& serving, const pb::Volume& volume) {
    ExportHost const host = export_host(config_);
    auto const candidates =
        export_candidates({serving.name, volume.listen(), volume.uri(), volume.listen_strict()}, host);
    std::optional<Error> refused;
    if (!candidates) refused = candidates.error();
    std::optional<Address> opened;
    for (usize i = 0; candidates && !opened && i < candidates->size(); ++i) {
        const Address& wanted = (*candidates)[i];
        auto const actual = serving.address == wanted ? Result<Address>(wanted) : nbd_.listen(wanted, true);
        if (actual) opened = *actual;
        if (!actual && !refused) refused = actual.error();
    }
    serving.export_error.clear();
    if (opened) {
        if (serving.address && serving.address != opened) nbd_.stop_listening(*serving.address);
        serving.address = opened;
        serving.uri = export_uri(*opened, serving.name, host);
    } else {
        serving.export_error = refused->message;
        if (env_.clock.now() >= serving.listen_again)
            log_warning(env_.log, "volume.not_exported",
                        [&] { return serving.name + ": " + serving.export_error; });
    }
    serving.listen_again = env_.clock.now() + k_listen_again;
    if (!std::exchange(serving.publishing, true)) scope_.spawn(publish(serving.name, volume.attachment()));
}

// Tells where the volume is served now, or why it is not; until the catalog has it, or it is served no more.
Task<void> VolumeHost::publish(std::string name, u64 attachment) {
    auto const begun = serving_.find(name);
    if (begun == serving_.end()) co_return;  // dropped in the same turn, before this ran
    std::weak_ptr<Serving::Mounted> const about = begun->second->mounted;
    for (Duration pause = k_publish_again;; pause = std::min(pause * 2, k_publish_again_max)) {
        auto const item = co_await catalog_.get(volume_key(name), env_.clock.now() + 5_s);
        auto const found = serving_.find(name);
        if (about.expired() || found == serving_.end() || found->second->mounted != about.lock()) co_return;
        Serving& serving = *found->second;
        pb::Volume volume;
        if (item && *item && volume.ParseFromString((*item)->value)) {
            std::string const before = volume.SerializeAsString();
            if (volume.attachment() == attachment) {
                volume.set_uri(serving.uri);
                volume.set_export_error(serving.export_error);
                if (serving.export_error.empty()) volume.set_listen_strict(false);
                volume.set_move_wanted(false);
            }
            if (volume.SerializeAsString() == before) {
                serving.publishing = false;  // told, or another place is wanted meanwhile, which is looked at
                co_return;
            }
            Transaction transaction;
            transaction.require_revision(volume_key(name), (*item)->mod_revision)
                .put(volume_key(name), volume.SerializeAsString());
            auto const result = co_await catalog_.commit(std::move(transaction), env_.clock.now() + 5_s);
            if (result && result->succeeded) continue;  // once more, to see that nothing has changed since
        } else if (item && !*item) {
            serving.publishing = false;  // removed
            co_return;
        }
        co_await env_.clock.sleep(pause);
    }
}

}  // namespace corelet
