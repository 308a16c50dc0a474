-- Ask `crlcheck serve` about the client's certificate of each request: for mod_lua, with
-- LuaSocket (Debian's package lua-socket).
--
--     LuaHookFixups /usr/share/crlcheck/crlcheck.lua check
--
-- A request goes on where the service answers 204. It gets 403 where that answers 403, and 503
-- where there is no such answer in time; 500 comes of a script that breaks. The service's
-- socket is /run/crlcheck/crlcheck.sock, unless CRLCHECK_SOCKET in Apache's environment names
-- another. What is said in the answer's Crlcheck-... headers goes to the application. Those of
-- the client are dropped.

local unix = require "socket.unix"
local gettime = require("socket").gettime

local ADDRESS = os.getenv("CRLCHECK_SOCKET") or "/run/crlcheck/crlcheck.sock"
local SECONDS = 2 -- for the whole of a check
local PREFIX = "^crlcheck"

-- Return the status and the headers of the service's answer.
local function ask(certificate)
    local socket = unix()
    local ends = gettime() + SECONDS

    local function demand(value, problem)
        if not value then
            socket:close()
            error(problem, 0)
        end
        return value
    end
    local function in_time()
        demand(gettime() < ends, "no answer in time")
        socket:settimeout(ends - gettime())
        return socket
    end

    demand(in_time():connect(ADDRESS))
    local request = { "GET /check HTTP/1.1", "Host: crlcheck", "Connection: close" }
    if certificate then
        request[#request + 1] = "X-Client-Certificate: " .. certificate:gsub("%s", " ")
    end
    demand(in_time():send(table.concat(request, "\r\n") .. "\r\n\r\n"))
    local line = demand(in_time():receive("*l")) -- it has no CR
    local status = demand(line:match("^HTTP/1%.1 (%d+)"), "no HTTP answer")
    local headers = {}
    while true do
        line = demand(in_time():receive("*l"))
        if line == "" then
            break
        end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        headers[demand(name, "a broken header"):lower()] = value
    end
    socket:close()
    return status, headers
end

function check(r)
    for name in pairs(r:headers_in_table()) do
        if name:lower():match(PREFIX) then
            r.headers_in[name] = nil
        end
    end
    local certificate = r:ssl_var_lookup("SSL_CLIENT_CERT")
    local verified = r:ssl_var_lookup("SSL_CLIENT_VERIFY")
    if certificate ~= "" and verified ~= "SUCCESS" then
        r:err("crlcheck: Apache has not verified the certificate: `SSLVerifyClient require` does")
        return 503
    end
    local done, status, headers = pcall(ask, certificate ~= "" and certificate)
    if not done then
        r:err("crlcheck: " .. tostring(status))
        return 503
    elseif status == "403" then
        return 403
    elseif status ~= "204" then
        r:err("crlcheck: the service answered " .. status)
        return 503
    end
    for name, value in pairs(headers) do
        if name:match(PREFIX) then
            r.headers_in[name] = value
        end
    end
    return apache2.OK
end
