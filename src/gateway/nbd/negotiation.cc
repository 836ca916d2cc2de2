#include "gateway/nbd/negotiation.h"

#include <fmt/format.h>

namespace corelet::nbd {

namespace {

void reply(std::vector<u8>& output, u32 option, OptionReply type, std::string_view text = {}) {
    BigWriter(output)
        .put(k_option_reply_magic)
        .put(option)
        .put(static_cast<u32>(type))
        .put(static_cast<u32>(text.size()))
        .put_text(text);
}
void reply(std::vector<u8>& output, Option option, OptionReply type, std::string_view text = {}) {
    reply(output, static_cast<u32>(option), type, text);
}

void reply_with(std::vector<u8>& output, Option option, OptionReply type, const std::vector<u8>& data) {
    reply(output, option, type, as_text(data));
}

void reply_info(std::vector<u8>& output, Option option, const ExportInfo& info, InfoType type, bool structured) {
    std::vector<u8> data;
    BigWriter writer(data);
    writer.put(static_cast<u16>(type));
    switch (type) {
        case InfoType::kExport:
            writer.put(info.size_bytes).put(transmission_flags(info, structured));
            break;
        case InfoType::kName:
            writer.put_text(info.name);
            break;
        case InfoType::kDescription:
            writer.put_text(info.description);
            break;
        case InfoType::kBlockSize:
            writer.put(k_block_minimum).put(k_block_preferred).put(k_block_maximum);
            break;
    }
    reply_with(output, option, OptionReply::kInfo, data);
}

void reply_context(std::vector<u8>& output, Option option) {
    std::vector<u8> data;
    // A list carries no ids: nothing is selected by it.
    u32 const id = option == Option::kSetMetaContext ? k_allocation_context_id : 0;
    BigWriter(data).put(id).put_text(k_allocation_context);
    reply_with(output, option, OptionReply::kMetaContext, data);
}

// LIST may name a whole namespace ("base:"), SET only contexts.
bool selects_allocation(std::string_view query, Option option) {
    return query == k_allocation_context || (option == Option::kListMetaContext && query == "base:");
}

}  // namespace

u16 transmission_flags(const ExportInfo& info, bool structured_replies) {
    u16 flags = k_export_has_flags | k_export_send_flush | k_export_send_fua | k_export_can_multi_conn |
                k_export_send_cache;
    if (structured_replies) flags |= k_export_send_df;
    if (info.read_only) return flags | k_export_read_only;
    flags |= k_export_send_trim | k_export_send_write_zeroes;
    if (info.fast_zero) flags |= k_export_send_fast_zero;
    return flags;
}

void Negotiation::greet(std::vector<u8>& output) const {
    BigWriter(output)
        .put(k_greeting_magic)
        .put(k_option_magic)
        .put(static_cast<u16>(k_handshake_fixed_newstyle | k_handshake_no_zeroes));
}

usize Negotiation::message_bytes(Bytes input) const {
    if (state_ == State::kClientFlags) return sizeof(u32);
    if (input.size() < k_option_header_bytes) return k_option_header_bytes;
    u32 const size = load_be<u32>(input.data() + 12);
    // What cannot be taken is judged by its header alone.
    bool const readable = load_be<u64>(input.data()) == k_option_magic && size <= k_option_bytes_max;
    return k_option_header_bytes + (readable ? size : 0);
}

usize Negotiation::step(Bytes input, std::vector<u8>& output) {
    CORELET_ASSERT(!is_over(), "the handshake is over");
    usize const size = message_bytes(input);
    if (input.size() < size) return 0;
    if (state_ == State::kClientFlags) {
        take_client_flags(load_be<u32>(input.data()));
        return size;
    }
    u32 const option = load_be<u32>(input.data() + 8);
    u32 const data_bytes = load_be<u32>(input.data() + 12);
    if (load_be<u64>(input.data()) != k_option_magic) {
        close("an option without the option magic");
    } else if (data_bytes > k_option_bytes_max) {
        refuse_oversized(option, data_bytes, output);
    } else {
        take_option(option, input.subspan(k_option_header_bytes, data_bytes), output);
    }
    return size;
}

void Negotiation::take_client_flags(u32 flags) {
    if ((flags & ~(k_handshake_fixed_newstyle | k_handshake_no_zeroes)) != 0) {
        return close(fmt::format("unknown client flags {:#x}", flags));
    }
    fixed_newstyle_ = (flags & k_handshake_fixed_newstyle) != 0;
    no_zeroes_ = (flags & k_handshake_no_zeroes) != 0;
    state_ = State::kOptions;
}

void Negotiation::refuse_oversized(u32 option, u32 size, std::vector<u8>& output) {
    std::string const reason =
        fmt::format("option {} has {} bytes of data, at most {} are taken", option, size, k_option_bytes_max);
    if (fixed_newstyle_) reply(output, option, OptionReply::kErrorTooBig, reason);
    close(reason);
}

void Negotiation::take_option(u32 option, Bytes data, std::vector<u8>& output) {
    auto const known = static_cast<Option>(option);
    if (!fixed_newstyle_ && known != Option::kExportName) {
        return close(fmt::format("option {} from a client that does not speak fixed newstyle", option));
    }
    switch (known) {
        case Option::kExportName:
            return export_name(data, output);
        case Option::kAbort:
            reply(output, known, OptionReply::kAck);
            return close({});
        case Option::kList:
            return list(data, output);
        case Option::kInfo:
        case Option::kGo:
            return info_or_go(known, data, output);
        case Option::kStructuredReply:
            return structured_reply(data, output);
        case Option::kListMetaContext:
        case Option::kSetMetaContext:
            return meta_context(known, data, output);
        case Option::kStartTls:
            return reply(output, known, OptionReply::kErrorUnsupported, "this server does not encrypt");
        case Option::kExtendedHeaders:
            return reply(output, known, OptionReply::kErrorUnsupported);
    }
    reply(output, option, OptionReply::kErrorUnsupported, "unknown option");
}

void Negotiation::export_name(Bytes data, std::vector<u8>& output) {
    const ExportInfo* const info = exports_.find_export(as_text(data));
    // This option knows no error replies.
    if (!info)
        return close(fmt::format("no export is named '{}'", as_text(data.first(std::min<usize>(data.size(), 64)))));
    BigWriter writer(output);
    writer.put(info->size_bytes).put(transmission_flags(*info, terms_.structured_replies));
    if (!no_zeroes_) writer.put_zeroes(124);
    enter_transmission(*info);
}

void Negotiation::list(Bytes data, std::vector<u8>& output) {
    if (!data.empty()) return reply(output, Option::kList, OptionReply::kErrorInvalid, "LIST takes no data");
    for (const std::string& name : exports_.export_names()) {
        std::vector<u8> entry;
        BigWriter(entry).put(static_cast<u32>(name.size())).put_text(name);
        reply_with(output, Option::kList, OptionReply::kServer, entry);
    }
    reply(output, Option::kList, OptionReply::kAck);
}

void Negotiation::info_or_go(Option option, Bytes data, std::vector<u8>& output) {
    BigReader reader(data);
    std::string_view const name = reader.get_text();
    auto const wanted_count = reader.get<u16>();
    if (reader.failed() || reader.remaining() != usize{wanted_count} * sizeof(u16) ||
        name.size() > k_string_bytes_max) {
        return reply(output, option, OptionReply::kErrorInvalid, "malformed INFO or GO");
    }
    bool wants_name = false;
    bool wants_description = false;
    for (usize i = 0; i < wanted_count; ++i) {
        auto const type = static_cast<InfoType>(reader.get<u16>());
        wants_name |= type == InfoType::kName;
        wants_description |= type == InfoType::kDescription;
    }
    const ExportInfo* const info = exports_.find_export(name);
    if (!info)
        return reply(output, option, OptionReply::kErrorUnknown, fmt::format("no export is named '{}'", name));
    bool const structured = terms_.structured_replies;
    reply_info(output, option, *info, InfoType::kExport, structured);
    // Sent unasked too: whoever would not ask should learn that 512 B is the least.
    reply_info(output, option, *info, InfoType::kBlockSize, structured);
    if (wants_name) reply_info(output, option, *info, InfoType::kName, structured);
    if (wants_description && !info->description.empty()) {
        reply_info(output, option, *info, InfoType::kDescription, structured);
    }
    reply(output, option, OptionReply::kAck);
    if (option == Option::kGo) enter_transmission(*info);
}

void Negotiation::structured_reply(Bytes data, std::vector<u8>& output) {
    if (!data.empty() || terms_.structured_replies) {
        std::string_view const why =
            data.empty() ? "structured replies are agreed already" : "STRUCTURED_REPLY takes no data";
        return reply(output, Option::kStructuredReply, OptionReply::kErrorInvalid, why);
    }
    terms_.structured_replies = true;
    reply(output, Option::kStructuredReply, OptionReply::kAck);
}

void Negotiation::meta_context(Option option, Bytes data, std::vector<u8>& output) {
    // Each SET replaces what was set before, a failed one too.
    if (option == Option::kSetMetaContext) context_export_.reset();
    if (!terms_.structured_replies) {
        return reply(output, option, OptionReply::kErrorInvalid, "metadata contexts need structured replies first");
    }
    BigReader reader(data);
    std::string_view const name = reader.get_text();
    auto const queries = reader.get<u32>();
    bool selected = option == Option::kListMetaContext && queries == 0;
    for (u32 i = 0; i < queries && !reader.failed(); ++i) selected |= selects_allocation(reader.get_text(), option);
    if (!reader.complete() || name.size() > k_string_bytes_max) {
        return reply(output, option, OptionReply::kErrorInvalid, "malformed metadata context query");
    }
    const ExportInfo* const info = exports_.find_export(name);
    if (!info)
        return reply(output, option, OptionReply::kErrorUnknown, fmt::format("no export is named '{}'", name));
    if (selected) reply_context(output, option);
    if (selected && option == Option::kSetMetaContext) context_export_ = info->name;
    reply(output, option, OptionReply::kAck);
}

void Negotiation::enter_transmission(const ExportInfo& info) {
    terms_.export_name = info.name;
    // Contexts hold for the export that they were selected for.
    terms_.allocation_context = terms_.structured_replies && context_export_ == info.name;
    state_ = State::kTransmission;
}

void Negotiation::close(std::string reason) {
    state_ = State::kClosed;
    close_reason_ = std::move(reason);
}

}  // namespace corelet::nbd
