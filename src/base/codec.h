// Little-endian encoding of fixed on-disk and on-wire records. The reader never reads past its bytes: a short or
// bad record turns it into a failed state that is asked once at the end.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"

namespace corelet {

class Writer {
  public:
    template <class T>
        requires std::is_integral_v<T>
    Writer& put(T value) {
        u8 raw[sizeof(T)];
        std::memcpy(raw, &value, sizeof(T));  // all supported machines are little-endian
        out_.insert(out_.end(), raw, raw + sizeof(T));
        return *this;
    }
    template <class Tag, class Rep>
    Writer& put(Strong<Tag, Rep> id) {
        return put(id.v);
    }
    Writer& put(const ChunkId& id) { return put(id.space).put(id.seq); }
    Writer& put_raw(Bytes bytes) {
        out_.insert(out_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    // u32 length, then the bytes.
    Writer& put_bytes(Bytes bytes) { return put(static_cast<u32>(bytes.size())).put_raw(bytes); }
    Writer& put_text(std::string_view text) { return put_bytes(as_bytes(text)); }
    [[nodiscard]] usize size() const { return out_.size(); }
    [[nodiscard]] const std::vector<u8>& data() const { return out_; }
    [[nodiscard]] std::vector<u8>& mutable_data() { return out_; }
    [[nodiscard]] Bytes bytes() const { return out_; }

  private:
    std::vector<u8> out_;
};

class Reader {
  public:
    explicit Reader(Bytes bytes) : in_(bytes) {}
    template <class T>
        requires std::is_integral_v<T>
    [[nodiscard]] T get() {
        T value{};
        if (in_.size() < sizeof(T)) {
            failed_ = true;
            in_ = {};
            return value;
        }
        std::memcpy(&value, in_.data(), sizeof(T));
        in_ = in_.subspan(sizeof(T));
        return value;
    }
    template <class Id>
        requires requires { typename Id::rep; }
    [[nodiscard]] Id get() {
        return Id(get<typename Id::rep>());
    }
    [[nodiscard]] ChunkId get_chunk_id() {
        SpaceId const space = get<SpaceId>();
        return ChunkId{space, get<u64>()};
    }
    [[nodiscard]] Bytes get_raw(usize size) {
        if (in_.size() < size) {
            failed_ = true;
            in_ = {};
            return {};
        }
        Bytes const out = in_.first(size);
        in_ = in_.subspan(size);
        return out;
    }
    [[nodiscard]] Bytes get_bytes() { return get_raw(get<u32>()); }
    [[nodiscard]] std::string get_text() { return std::string(as_text(get_bytes())); }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] usize remaining() const { return in_.size(); }
    [[nodiscard]] Bytes rest() const { return in_; }
    // All bytes were read and none was missing.
    [[nodiscard]] bool complete() const { return !failed_ && in_.empty(); }

  private:
    Bytes in_;
    bool failed_ = false;
};

}  // namespace corelet
