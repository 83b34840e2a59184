"""One check of a target checkpoint against its source: what is to be asked, and the threads that find the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from touchstone.migration import configuration, findings
from touchstone.migration.checkpoint import Checkpoint, CheckpointError
from touchstone.migration.comparing import UNASKED, Compared, common_rows, compare, how
from touchstone.migration.findings import Finding
from touchstone.migration.formats.pytorch import NAME as PYTORCH
from touchstone.migration.hypotheses import consistent_heads
from touchstone.migration.keymap import KeyMap
from touchstone.migration.ledger import Ledger, fingerprint
from touchstone.migration.mapping.knowledge import Knowledge
from touchstone.migration.mapping.program import lines, programmed
from touchstone.migration.opening import open_adapter, open_checkpoint
from touchstone.migration.pairing import Alone, Pair, Pairing, pair
from touchstone.migration.shards import Shard

WORK_BYTES = 1 << 26
"""Bytes of both sides that one piece of work reads."""
MOST_THREADS = 8
"""Threads hold about 40 MB each."""


class Listener(Protocol):
    """Who wants to know how far a check is."""

    def begin(self, check: Check, nbytes: int) -> None:
        """The check begins, and will read so many bytes."""

    def done(self, nbytes: int, *, resumed: bool) -> None:
        """So many more bytes are done, or were before; called from several threads."""


@dataclass(frozen=True)
class Question:
    """One case of a check. name: the tensor; subject: what is asked about, or the answer where nothing need be read."""

    requirement: str
    name: str
    params: dict[str, Any]
    size: int
    subject: Pair | Alone | Finding

    @property
    def key(self) -> str:
        return f"{self.requirement} {self.name}"


@dataclass
class _Open:
    """A pair whose rows are being compared."""

    question: Question
    pair: Pair
    rows: int
    left: int
    compared: Compared


Piece = tuple[_Open, int, int]
"""Rows of a pair that one thread compares."""


class Check:
    """What two checkpoints are asked.

    Attributes: source, target, pairing, rules (of the program, with how many tensors each makes), questions (of this
    shard).
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        keymap: Path | None = None,
        shard: Shard | None = None,
        key: str = "",
        adapter: Path | None = None,
    ) -> None:
        """Read headers, pair tensors, deal out the shard's questions.

        Of the data only a few rows are read: of q and k where no configuration says how many heads they have, of a
        head that a configuration ties, and of a few layers of what a rule may make.

        key: where a PyTorch file keeps the weights, levels parted by dots. adapter: a LoRA adapter, with which the
        source was fused. Raises CheckpointError for a checkpoint, a map, a shard, a key or an adapter that cannot be
        used.
        """
        self.source, self.target = open_checkpoint(source, key), open_checkpoint(target, key)
        if key and PYTORCH not in (self.source.format, self.target.format):
            raise CheckpointError(f"--key {key}: neither {source} nor {target} is a PyTorch file, which has keys")
        if {p.resolve() for p in self.source.files} == {p.resolve() for p in self.target.files}:
            raise CheckpointError(
                f"{source} and {target} are the same files; name what was converted, and what came of it"
            )
        names = KeyMap.read(keymap) if keymap else KeyMap()
        more = open_adapter(adapter) if adapter else None
        found = pair(self.source, self.target, names, more)
        self.knowledge = Knowledge.of(self.source, self.target)
        program = programmed(replace(found, pairs=consistent_heads(found.pairs)), self.knowledge)
        self.pairing: Pairing = program.pairing
        self.rules = program.rules
        self.shard = shard or Shard()
        self.vocabulary = findings.vocabulary_of(self.target.config)
        every = self._questions()
        own = self.shard.own([q.size for q in every])
        self.questions = [q for i, q in enumerate(every) if i in own]
        self._by_key = {(q.requirement, q.name): q for q in self.questions}
        self._answers: dict[str, Future[Finding]] = {q.key: Future() for q in self.questions}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._ledger: Ledger | None = None
        self._listener: Listener | None = None
        self.key = fingerprint(
            [*self.source.files, *self.target.files, *(more.files if more else []), *([keymap] if keymap else [])],
            [str(source), str(target), str(self.shard), key],
        )

    def _questions(self) -> list[Question]:
        pairing, out = self.pairing, []
        for p in pairing.pairs:
            params = {"tensor": p.name, "source": p.source.name, **_form(p.source, p.target)}
            out.append(Question(findings.requirement_of(p), p.name, params, p.nbytes, p))
        out += [_unpaired(alone) for alone in pairing.alone]
        for name, text in self.target.faults:
            params = {"tensor": f"{name} as it is loaded"}
            out.append(Question(findings.PAIRED, params["tensor"], params, 0, Finding("loaded otherwise", False, text)))
        configured = chain(
            configuration.of_tensors(pairing, self.target.config, self.knowledge),
            configuration.of_model(pairing, self.source.config, self.target.config),
        )
        return out + [Question(findings.CONFIGURED, name, {"tensor": name}, 0, found) for name, found in configured]

    @property
    def inferred(self) -> int:
        """Tensors of the target that a rule makes which only the values support."""
        return sum(count for rule, count in self.rules.items() if rule.basis == "values")

    @property
    def dropped(self) -> int:
        """Tensors without a partner that need none by a documented convention."""
        return sum(bool(a.reason) for a in self.pairing.alone)

    def start(
        self,
        asked: Collection[tuple[str, str]],
        threads: int,
        folder: Path | None,
        process: str,
        listener: Listener | None = None,
    ) -> None:
        """Begin to look for the answers to `asked` (requirement, tensor).

        threads: how many look in the background; with none, each answer is looked for when it is asked for. folder:
        where verdicts are kept so that an interrupted check can go on. listener: who is told how far it is. Raises
        CheckpointError.
        """
        chosen = [q for q in self.questions if (q.requirement, q.name) in asked]
        self._listener = listener
        if listener:
            listener.begin(self, sum(q.size for q in chosen))
        if folder:
            self._ledger = Ledger(folder, process, self.key)
            self._ledger.open()
            self._recall(self._ledger, chosen)
        if not threads:
            return
        work: SimpleQueue[Piece | None] = SimpleQueue()
        for question in chosen:
            if not self._answers[question.key].done():
                self._begin(question, work.put)
        for _ in range(min(threads, MOST_THREADS)):
            work.put(None)
            self._threads.append(threading.Thread(target=self._drain, args=(work,), daemon=True))
        for thread in self._threads:
            thread.start()

    def _recall(self, ledger: Ledger, chosen: Sequence[Question]) -> None:
        for question in chosen:
            if known := ledger.found.get(question.key):
                self._answers[question.key].set_result(known)
                self._tell(question.size, resumed=True)

    def _drain(self, work: SimpleQueue[Piece | None]) -> None:
        while (item := work.get()) is not None and not self._stop.is_set():
            self._do(*item)

    def question(self, requirement: str, name: str) -> Question:
        """The question of one requirement about one tensor. Raises KeyError where it is not asked here."""
        return self._by_key[requirement, name]

    def where(self, question: Question) -> str:
        """The file and key of what the target must hold."""
        return question.subject.source.where if isinstance(question.subject, Pair) else str(self.source.path)

    def finding(self, question: Question) -> Finding:
        """The answer to one question; waits for it."""
        answer = self._answers[question.key]
        if not answer.done() and not self._threads:
            items: list[Piece] = []
            self._begin(question, items.append)
            for item in items:
                self._do(*item)
        return answer.result()

    def _begin(self, question: Question, put: Callable[[Piece], object]) -> None:
        """Put a question's pieces of work, or answer it where rows are not to be compared."""
        try:
            found = self._pieces(question)
        except CheckpointError as error:
            found = Finding("cannot be read", False, str(error))
        if isinstance(found, Finding):
            self._answer(question, found)
            return
        for piece in found:
            put(piece)

    def _pieces(self, question: Question) -> Finding | list[Piece]:
        if isinstance(question.subject, Finding):
            return question.subject
        if isinstance(question.subject, Alone):
            return findings.of_alone(question.subject, self.pairing)
        p = question.subject
        rows = common_rows(p) if how(p.source, p.target) not in UNASKED else 0
        step = max(1, rows * WORK_BYTES // max(1, p.nbytes))
        if p.transposed:  # every piece reads the whole source
            step = max(1, rows)
        ranges = [(a, min(rows, a + step)) for a in range(0, rows, step)] or [(0, 0)]
        state = _Open(question, p, rows, len(ranges), Compared())
        return [(state, a, b) for a, b in ranges]

    def _do(self, state: _Open, start: int, stop: int) -> None:
        """Compare some rows; whoever does the last ones gives the verdict."""
        try:
            compared = compare(state.pair, start, stop)
            with self._lock:
                state.compared.add(compared)
                state.left -= 1
                last = not state.left
            if state.rows:
                self._tell(state.question.size * (stop - start) // state.rows)
            if not last or self._answers[state.question.key].done():
                return
            found = findings.of_pair(state.pair, state.compared, self.pairing, state.rows, self.vocabulary)
        except CheckpointError as error:
            found = Finding("cannot be read", False, str(error))
        except BaseException as error:  # a fault of ours: whoever waits for the answer must learn of it
            self._fail(state.question, error)
            return
        self._answer(state.question, found)

    def _answer(self, question: Question, found: Finding) -> None:
        with self._lock:
            if self._answers[question.key].done():
                return
            if self._ledger:
                try:
                    self._ledger.add(question.key, found)
                except CheckpointError as error:
                    self._answers[question.key].set_exception(error)
                    return
            self._answers[question.key].set_result(found)

    def _fail(self, question: Question, error: BaseException) -> None:
        with self._lock:
            if not self._answers[question.key].done():
                self._answers[question.key].set_exception(error)

    def close(self) -> None:
        """Stop the threads, and let go of the ledger."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._ledger:
            self._ledger.close()

    def _tell(self, done: int, *, resumed: bool = False) -> None:
        if self._listener:
            self._listener.done(done, resumed=resumed)


def _form(source: Any, target: Any) -> dict[str, str]:
    """Parameters that say how both sides store a tensor."""
    before, after = (p.encoding or p.dtype for p in (source, target))
    return {"dtype": before if before == after else f"{before} to {after}"}


def _unpaired(alone: Alone) -> Question:
    name = f"{alone.parameter.name} of the {alone.side}"
    return Question(findings.PAIRED, name, {"tensor": name}, 0, alone)


def headline(check: Check) -> Sequence[str]:
    """What both checkpoints are, and how they were paired, a line each."""

    def described(side: Checkpoint, count: int) -> str:
        return f"{side.path}: {side.format}, {count:,} parameter{'s' * (count != 1)}"

    pairing = check.pairing
    ways: dict[str, int] = {}
    for p in pairing.pairs:
        if not p.rule:
            ways[p.how] = ways.get(p.how, 0) + 1
    return [
        described(check.source, len(pairing.source)),
        described(check.target, len(pairing.target)),
        *pairing.notes,
        *(f"{count:,} paired by {way}" for way, count in ways.items()),
        *lines(check.rules),
    ]
