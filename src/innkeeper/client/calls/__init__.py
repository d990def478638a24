"""The calls of the service: what each sends, and what its answer means. Requests out, values in.

Nothing here does input or output, so that a synchronous and an asynchronous client share it. Every call of
the client is declared here, a module for each noun of the service.
"""

from innkeeper.client.calls.call import Answer as Answer
from innkeeper.client.calls.call import Call as Call
from innkeeper.client.calls.call import Query as Query
from innkeeper.client.calls.call import get as get
from innkeeper.client.calls.call import machine_path as machine_path
from innkeeper.client.calls.service import add_window as add_window
from innkeeper.client.calls.service import agent_files as agent_files
from innkeeper.client.calls.service import book as book
from innkeeper.client.calls.service import cancel as cancel
from innkeeper.client.calls.service import channel as channel
from innkeeper.client.calls.service import channels as channels
from innkeeper.client.calls.service import checks as checks
from innkeeper.client.calls.service import close_channel as close_channel
from innkeeper.client.calls.service import command as command
from innkeeper.client.calls.service import delete_update as delete_update
from innkeeper.client.calls.service import health as health
from innkeeper.client.calls.service import inn as inn
from innkeeper.client.calls.service import log_in as log_in
from innkeeper.client.calls.service import log_out as log_out
from innkeeper.client.calls.service import machine as machine
from innkeeper.client.calls.service import machines as machines
from innkeeper.client.calls.service import open_channel as open_channel
from innkeeper.client.calls.service import remove_window as remove_window
from innkeeper.client.calls.service import task as task
from innkeeper.client.calls.service import task_log as task_log
from innkeeper.client.calls.service import tasks as tasks
from innkeeper.client.calls.service import tonight as tonight
from innkeeper.client.calls.service import update as update
from innkeeper.client.calls.service import updates as updates
from innkeeper.client.calls.service import windows as windows
