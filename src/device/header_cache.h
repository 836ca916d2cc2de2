// Fragment headers lately used, within a bound of bytes: least recently used goes first.
#pragma once

#include <list>
#include <map>
#include <memory>

#include "device/fragment_header.h"

namespace corelet {

class HeaderCache {
  public:
    using Header = std::shared_ptr<const StoredHeader>;
    explicit HeaderCache(u64 bytes_max) : bytes_max_(bytes_max) {}

    [[nodiscard]] Header find(const FragmentId& id) {
        auto const at = by_id_.find(id);
        if (at == by_id_.end()) return nullptr;
        order_.splice(order_.begin(), order_, at->second);
        return *at->second;
    }
    void insert(Header header) {
        FragmentId const id = header->entry.id();
        erase(id);
        bytes_ += cost(*header);
        order_.push_front(std::move(header));
        by_id_[id] = order_.begin();
        while (bytes_ > bytes_max_ && order_.size() > 1) erase(order_.back()->entry.id());
    }
    void erase(FragmentId id) {
        auto const at = by_id_.find(id);
        if (at == by_id_.end()) return;
        bytes_ -= cost(**at->second);
        order_.erase(at->second);
        by_id_.erase(at);
    }
    void clear() {
        order_.clear();
        by_id_.clear();
        bytes_ = 0;
    }
    [[nodiscard]] u64 bytes() const { return bytes_; }

  private:
    [[nodiscard]] static u64 cost(const StoredHeader& header) {
        return 256 + header.stored_crcs.size() * 4 + header.extents.size() * 8 + header.fields.opaque.size();
    }
    u64 bytes_max_;
    u64 bytes_ = 0;
    std::list<Header> order_;
    std::map<FragmentId, std::list<Header>::iterator> by_id_;
};

}  // namespace corelet
