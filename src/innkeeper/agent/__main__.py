"""Start the agent's command line: ``python3 -m innkeeper.agent``, or the zipapp itself."""

import sys

from innkeeper.agent.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
