#include "volume/page_cache.h"

#include <algorithm>

namespace corelet {

PageCache::~PageCache() = default;

PageCache::Node* PageCache::find(PageKey key) {
    auto const found = nodes_.find(key.packed());
    return found == nodes_.end() ? nullptr : found->second.get();
}

PageCache::Node& PageCache::insert(PageKey key, std::shared_ptr<PageData> data) {
    make_room();
    auto& slot = nodes_[key.packed()];
    CORELET_ASSERT(!slot, "page is in memory already");
    slot = std::make_unique<Node>();
    slot->key = key;
    if (data) loaded(*slot, std::move(data));
    return *slot;
}

// Evicts what may go. Beyond the bound for a moment rather than a deadlock: during replay what the former owner
// held dirty comes back whatever this one's bound.
void PageCache::make_room() {
    while (nodes_.size() + copies() >= pages_max_ && !idle_.empty()) {
        Node& victim = idle_.pop_front();
        CORELET_ASSERT(victim.pins == 0 && !victim.dirty && !victim.frozen);
        nodes_.erase(victim.key.packed());
    }
}

void PageCache::loaded(Node& node, std::shared_ptr<PageData> data) {
    CORELET_ASSERT(node.state == State::kLoading && data);
    node.data = std::move(data);
    node.state = State::kReady;
    node.settled.set();
}

void PageCache::failed(Node& node, Error error) {
    CORELET_ASSERT(node.state == State::kLoading && node.pins > 0);
    node.error = std::move(error);
    node.state = State::kFailed;
    node.settled.set();
}

void PageCache::pin(Node& node) {
    node.unlink();
    ++node.pins;
}

void PageCache::unpin(Node& node) {
    CORELET_ASSERT(node.pins > 0);
    --node.pins;
    settle(node);
}

void PageCache::settle(Node& node) {
    if (node.pins > 0 || node.dirty || node.frozen) return;
    if (node.state != State::kReady) {
        nodes_.erase(node.key.packed());
        return;
    }
    idle_.push_back(node);
    if (nodes_.size() + copies() > pages_max_) make_room();
}

PageData& PageCache::writable(Node& node) {
    CORELET_ASSERT(node.state == State::kReady && node.pins > 0, "change of a page that is not held");
    if (!node.dirty) {
        node.dirty = true;
        dirty_.emplace(node.key, &node);
        ++dirty_parents_[node.key.parent()];
        if (node.frozen) ++copies_;
    }
    if (node.data.use_count() > 1) node.data = std::make_shared<PageData>(*node.data);
    return *node.data;
}

std::vector<PageCache::Frozen> PageCache::freeze() {
    CORELET_ASSERT(frozen_.empty(), "two checkpoints at once");
    std::vector<Frozen> out;
    out.reserve(dirty_.size());
    for (auto& [key, node] : dirty_) {
        node->dirty = false;
        node->frozen = true;
        frozen_.push_back(node);
        out.push_back({key, node->data});
    }
    dirty_.clear();
    frozen_parents_ = dirty_parents_.size();
    dirty_parents_.clear();
    return out;
}

void PageCache::thaw() {
    std::vector<Node*> const nodes = std::exchange(frozen_, {});
    frozen_parents_ = 0;
    copies_ = 0;
    for (Node* node : nodes) {
        node->frozen = false;
        settle(*node);
    }
}

u64 PageCache::next_changed(u64 leaf) const {
    PageKey const from{0, leaf};
    u64 next = UINT64_MAX;
    auto const dirty = dirty_.lower_bound(from);
    if (dirty != dirty_.end()) next = dirty->first.index;
    auto const frozen = std::lower_bound(frozen_.begin(), frozen_.end(), from,
                                         [](const Node* node, PageKey key) { return node->key < key; });
    return frozen == frozen_.end() ? next : std::min(next, (*frozen)->key.index);
}

usize PageCache::dirty_cost() const {
    return dirty_.size() + frozen_.size() + 2 * (dirty_parents_.size() + frozen_parents_);
}

usize DirtyBudget::cost_of_next(const std::vector<u64>& leaves, u64 leaf) {
    if (leaves.empty()) return 3;
    if (leaves.back() == leaf) return 0;
    return leaves.back() / k_directory_entries == leaf / k_directory_entries ? 1 : 3;
}

usize DirtyBudget::cost_of(const std::vector<u64>& leaves) {
    usize cost = 0;
    std::vector<u64> before;
    for (u64 const leaf : leaves) {
        cost += cost_of_next(before, leaf);
        before.assign(1, leaf);
    }
    return cost;
}

bool DirtyBudget::try_admit(usize cost, Grant& grant) {
    if (waiting_ > 0 || !fits(cost)) return false;
    reserved_ += cost;
    grant = Grant(*this, cost);
    return true;
}

Task<DirtyBudget::Grant> DirtyBudget::admit(usize cost) {
    CORELET_ASSERT(cost <= request_cost_max());
    Grant at_once;
    if (try_admit(cost, at_once)) co_return at_once;
    struct Waiting {
        usize& count;
        explicit Waiting(usize& counter) : count(counter) { ++count; }
        ~Waiting() { --count; }
    } const waiting(waiting_);
    Permit const turn = co_await queue_.lock();
    while (!fits(cost) && !closed_) {
        if (pressed_) pressed_->notify_all();
        co_await room_.wait();
    }
    reserved_ += cost;
    co_return Grant(*this, cost);
}

void DirtyBudget::give_back(usize cost) {
    CORELET_ASSERT(reserved_ >= cost);
    reserved_ -= cost;
    room_.notify_all();
}

}  // namespace corelet
