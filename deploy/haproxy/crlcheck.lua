-- Ask `crlcheck serve` about the client's certificate of each request.
--
-- The action sets the variable txn.crlcheck to "pass" where the service answers 204, to "deny"
-- where it answers 403, and to "failed" where there is no such answer in time. Pass on nothing
-- but "pass": where this script breaks the variable is not set at all.
--
--     http-request lua.crlcheck unix@/run/crlcheck/crlcheck.sock
--
-- It waits through HAProxy's own sockets, so other requests go on meanwhile. What is said in
-- the answer's Crlcheck-... headers goes to the application. Those of the client are dropped.

local SECONDS = 2 -- for the whole of a check
local PREFIX = "^crlcheck"

local function now()
    local time = core.now()
    return time.sec + time.usec / 1e6
end

-- Return the status and the headers of the service's answer.
local function ask(address, certificate)
    local socket = core.tcp()
    local ends = now() + SECONDS

    local function demand(value, problem)
        if not value then
            socket:close()
            error(problem or "no answer in time", 0)
        end
        return value
    end
    local function in_time()
        demand(now() < ends)
        socket:settimeout(ends - now())
        return socket
    end

    demand(in_time():connect(address))
    local request = { "GET /check HTTP/1.1", "Host: crlcheck", "Connection: close" }
    if certificate then
        request[#request + 1] = "X-Client-Certificate: " .. certificate
    end
    demand(in_time():send(table.concat(request, "\r\n") .. "\r\n\r\n"))
    local line = demand(in_time():receive("*l"))
    local status = demand(line:match("^HTTP/1%.1 (%d+)"), "no HTTP answer")
    local headers = {}
    while true do
        line = demand(in_time():receive("*l")):gsub("\r$", "")
        if line == "" then
            break
        end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        headers[demand(name, "a broken header"):lower()] = value
    end
    socket:close()
    return status, headers
end

local function check(txn, address)
    txn:set_var("txn.crlcheck", "failed")
    for name in pairs(txn.http:req_get_headers()) do
        if name:lower():match(PREFIX) then
            txn.http:req_del_header(name)
        end
    end
    local der = txn.f:ssl_c_der()
    if not der and txn.f:ssl_c_used() ~= 0 then
        error("the certificate is larger than tune.bufsize", 0)
    end
    if txn.f:ssl_c_verify() ~= 0 then
        error("HAProxy has not verified the certificate: `verify required` does", 0)
    end
    local status, headers = ask(address, der and txn.c:base64(der))
    if status == "204" then
        for name, value in pairs(headers) do
            if name:match(PREFIX) then
                txn.http:req_set_header(name, value)
            end
        end
        txn:set_var("txn.crlcheck", "pass")
    elseif status == "403" then
        txn:set_var("txn.crlcheck", "deny")
    else
        error("the service answered " .. status, 0)
    end
end

core.register_action("crlcheck", { "http-req" }, function(txn, address)
    local done, problem = pcall(check, txn, address)
    if not done then
        txn:log(core.err, "crlcheck: " .. tostring(problem))
    end
end, 1)
