#include "catalog/watch_hub.h"

namespace corelet {

class HubWatch final : public Watch {
  public:
    HubWatch(WatchHub& hub, std::string prefix, Revision from)
        : hub_(hub), prefix_(std::move(prefix)), from_(from) {}

    Task<Result<WatchBatch>> next() override {
        for (;;) {
            auto const changes = hub_.state_->changes_after(from_);  // not held across a wait
            if (!changes) {
                from_ = hub_.state_->revision();
                co_return fail(Code::kOverloaded, "changes were missed: read the range again", from_.v);
            }
            WatchBatch batch;
            for (const CatalogState::Change& change : *changes) {
                if (!batch.events.empty() && change.revision != batch.revision) break;
                from_ = change.revision;
                if (!change.event.item.key.starts_with(prefix_)) continue;
                batch.revision = change.revision;
                batch.events.push_back(change.event);
            }
            if (!batch.events.empty()) co_return batch;
            co_await hub_.changed_.wait();
        }
    }

  private:
    WatchHub& hub_;
    std::string prefix_;
    Revision from_;
};

std::unique_ptr<Watch> WatchHub::watch(std::string prefix, Revision from) {
    return std::make_unique<HubWatch>(*this, std::move(prefix), from.is_zero() ? state_->revision() : from);
}

Task<void> WatchHub::wait_beyond(Revision after, Clock& clock, Instant deadline) {
    while (state_->revision() <= after && clock.now() < deadline) co_await changed_.wait_until(clock, deadline);
}

}  // namespace corelet
