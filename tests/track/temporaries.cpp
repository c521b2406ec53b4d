// SPDX-License-Identifier: MIT
// What refers to a table or a pool takes none that would be gone: `track(static_connection_table<...>{seed})` does not
// compile.
#include <type_traits>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

template <class Owner, class Table>
constexpr bool lent_by_name_only = std::is_convertible_v<Owner&, Table&> && !std::is_convertible_v<Owner, Table&>;

static_assert(lent_by_name_only<static_connection_table<connection_config{}>, connection_table>);
static_assert(lent_by_name_only<static_nat_table<>, nat_table>);
static_assert(lent_by_name_only<static_flowtable<flowtable_config{}>, flowtable>);
static_assert(lent_by_name_only<static_neighbour_table<neighbour_config{}>, neighbour_table>);
static_assert(lent_by_name_only<static_fragment_table<fragment_config{}>, fragment_table>);
static_assert(lent_by_name_only<static_rule_table<rule_table_config{}>, rule_table>);
static_assert(lent_by_name_only<static_pool<pool_config{}>, pool>);
static_assert(lent_by_name_only<mapped_pool, pool>);

}  // namespace
