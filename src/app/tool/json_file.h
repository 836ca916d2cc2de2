// Files of JSON in the directories of corelets, of labs and of keepers, and the addresses in them.
#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "app/tool/files.h"
#include "base/json.h"
#include "base/result.h"
#include "rt/network.h"

namespace corelet::app {

// What `take` makes of the JSON in the file: it returns a Result, and may throw what the JSON library does.
// kCorrupt, with the file's name: it is no JSON, something is missing in it or of another type, or `take` refuses
// it. Else as read_file(); so kNotFound is only said of the file itself.
template <typename Take>
[[nodiscard]] std::invoke_result_t<Take, const Json&> parse_json_file(const std::string& path, Take&& take) {
    TRY(std::string const text, read_file(path));
    try {
        auto taken = std::forward<Take>(take)(Json::parse(text));
        if (taken) return taken;
        return fail(Code::kCorrupt, "'" + path + "': " + taken.error().message);
    } catch (const Json::exception& error) {
        return fail(Code::kCorrupt, "'" + path + "' does not parse: " + error.what());
    }
}

// Texts, in the order of the addresses.
[[nodiscard]] Json addresses_to_json(const std::vector<Address>& addresses);
// kInvalid: one of them is no address. Throws as the JSON library does where one is no text.
[[nodiscard]] Result<std::vector<Address>> addresses_from_json(const Json& list);

}  // namespace corelet::app
