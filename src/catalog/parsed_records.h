// Records of the catalog as messages, parsed anew only when they have changed: for whoever looks at all of them
// again and again. Of one prefix. One executor.
#pragma once

#include <map>
#include <string>

#include "catalog/catalog.h"

namespace corelet {

template <class Message>
class ParsedRecords {
  public:
    // Null: it does not parse. Good until the next call of forget_others().
    [[nodiscard]] const Message* parse(const KeyValue& item) {
        auto const [found, fresh] = known_.try_emplace(item.key);
        Known& known = found->second;
        if (fresh || known.revision != item.mod_revision) {
            known.revision = item.mod_revision;
            known.good = known.message.ParseFromString(item.value);
        }
        known.asked = true;
        return known.good ? &known.message : nullptr;
    }
    // Those that were not asked for since the last time are there no more.
    void forget_others() {
        for (auto it = known_.begin(); it != known_.end();)
            it = std::exchange(it->second.asked, false) ? std::next(it) : known_.erase(it);
    }
    [[nodiscard]] usize size() const { return known_.size(); }

  private:
    struct Known {
        Revision revision;
        bool good = false;
        bool asked = false;
        Message message;
    };
    std::map<std::string, Known, std::less<>> known_;
};

}  // namespace corelet
