-- Posts the JSON documents in a file, one a line, in turn and over and over. The file's path follows `--` on wrk's
-- command line.

local requests = {}
local last = 0

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  -- Written out beforehand: during the run the script does not compete with the server for the processor.
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, body)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
