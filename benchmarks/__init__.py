"""The benchmarks: ``python -m benchmarks`` measures the relay beside what a user would pick instead of it.

::

    python -m benchmarks                 everything: sets up, checks, measures, writes benchmarks/results/
    python -m benchmarks --only perf     or dialects, or disconnects
    python -m benchmarks --quick         one short round of each, to see that it works; its figures mean nothing
    python -m benchmarks --profile       where the relay's own time goes: a chunk and a request, in each dialect

Two CPU cores are used. Core 0 belongs to the system under test alone; core 1 to the load generator, the paced upstream
and the bench itself. One core for the proxy is what makes "CPU per chunk" comparable and saturation reachable.

The systems are compared in Claude's dialect, which all of them speak. The part ``dialects`` compares the relay with
itself: Bedrock, Gemini, and clients of Claude's that are served by Bedrock.

A guided tour, in the order in which things happen:

================  ======================================================================================================
``__main__``      the command line
``order``         what the upstream has to serve, written into the prompt: it survives every proxy unchanged
``dialects``      the same words in Bedrock's and Gemini's forms, and what each client asks
``upstream``      the paced upstream: one epoll loop, chunks encoded beforehand; knows when it saw each close
``generator``     the load generator: one epoll loop in its own process; one job in, one result out
``stream``        one client connection of the generator: finds events and the end, parses nothing else
``meter``         CPU, memory and sockets of process trees, and the CPU of everybody else, from /proc
``systems/``      relay, nginx, LiteLLM, Portkey and no proxy at all: install, configure, start, stop, one file each
``correctness``   is the stream that arrives the stream that was sent? before anything is measured
``cells``         the performance cells: what the generator has to do, and what figure is made of its answer
``storms``        the disconnect scenarios, likewise
``rounds``        interleaving: within each round, each cell runs on every system in turn; raw rows are kept
``report``        medians, spreads and ratios of the raw rows, as Markdown
``plot``          the distribution of close-to-close times, as SVG (needs the extra ``bench``)
``profiling``     ``--profile``
================  ======================================================================================================

How it is known that generator and upstream are not the bottleneck: both report their own CPU share in every cell, no
proxy at all (``direct``) runs in every round, and a cell in which core 1 was more than 85 % busy with them is marked.
"""
