// Where etcd's gateway takes each request, from etcd 3.4 on.
#pragma once

#include <string_view>

namespace corelet::etcd {

inline constexpr std::string_view k_transaction_path = "/v3/kv/txn";
inline constexpr std::string_view k_range_path = "/v3/kv/range";
inline constexpr std::string_view k_watch_path = "/v3/watch";
inline constexpr std::string_view k_grant_path = "/v3/lease/grant";
inline constexpr std::string_view k_keep_alive_path = "/v3/lease/keepalive";
inline constexpr std::string_view k_revoke_path = "/v3/kv/lease/revoke";

}  // namespace corelet::etcd
