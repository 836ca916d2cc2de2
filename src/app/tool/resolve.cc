#include "app/tool/resolve.h"

#include <fmt/format.h>

namespace corelet::app {

Result<std::string> resolve_corelet(const Context& context, const Reach& reach, const std::string& text) {
    bool const is_index =
        text.size() < 16 && !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (!is_index) {
        TRY(u64 const id, parse_hex64(text));
        return hex64(id);
    }
    usize const index = std::stoul(text);
    if (auto const lab = context.lab()) {
        const LabMember* const member = lab->find(static_cast<u32>(index));
        if (!member)
            return fail(Code::kNotFound, fmt::format("this lab has no corelet {}; they are numbered 1 to {}", text,
                                                     lab->members.size()));
        return to_string(member->corelet);
    }
    TRY(Json const status, run_command(reach, "status", Json::object(), k_command_limit, true));
    const Json& corelets = status.at("corelets");
    if (index == 0 || index > corelets.size())
        return fail(Code::kNotFound,
                    fmt::format("there is no corelet {}; `corelet status` lists {}", text, corelets.size()));
    return corelets[index - 1].at("id").get<std::string>();
}

}  // namespace corelet::app
