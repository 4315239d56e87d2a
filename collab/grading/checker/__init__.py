"""The two processes inside a sandbox that judge a program: it runs in one, its tests in the other.

The program's process is forked before the tests are read. The two share a pair of pipes with plain
data on them, and nothing else. So the program can neither see the tests nor change what they mean:
its results are built anew on the tests' side, or are represented by handles.

The modules in here import only the standard library and each other, because they run in the
sandbox; `bundle` joins them to one program. Its stdin is a job in JSON:

- `program`: the program's text;
- `entry`: a name that the program may define over ours, or null;
- `lends`: other names that the tests take from the program (optional). All other names must come
  from the tests, from `before`, or from the standard library;
- `classes`: those of these names that the question asks for as classes (optional);
- `values`: whether results must be plain values and functions (optional);
- `before`: code that runs in front of the tests, in their process;
- `suites`: the tests by name.

Its stdout is one line of JSON: `suites` maps each suite to null or its fault, and `unjudged` maps
some of the failed suites to the reason why the program may be right after all; or `broken` says
what is wrong with the tests.
"""
