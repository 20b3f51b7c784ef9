"""Scripts of Lua that Envoy compiles, and some that it does not."""

RIGHT = (
    "function envoy_on_request(handle) handle:headers():add('a', 'b') end",
    "local x = 1;;",
    "for i = 1, 2 do break; local y = 1 end",
    "for i = 1, 2 do break local y = 1 end",
    "local x = 1LL",
    "local x = 1ULL;;",
    "goto a ::a::",
    "#!/usr/bin/lua\nlocal x = 1",
    "\ufefflocal x = 1",
    "local x = '\\z  a' .. '\\x41'",
    "local f = function() return 0x1p4 end",
    "local t = {1; 2, a = [==[b]==]} -- c",
    "local x = 1 \0 and what nobody reads",
)
WRONG = (
    "function (",
    "local x = = 1",
    "if a then",
    "local x <const> = 1",
    "local x = 1 // 2",
    "local x = 1 & 2",
    "goto a",
    "::a:: ::a::",
    "local t = {;}",
    "x = 'a\nb'",
    "a.b:c",
    "return; local x",
    "break",
)
