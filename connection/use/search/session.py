"""An index in use: brought up to its corpus, and searched."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from connection import UserMistake
from connection.disk.claim import claimed
from connection.reading.formats.text.csv_output import Style
from connection.reading.sentences import SentenceRows
from connection.script.settings import Settings
from connection.text import counted, format_time
from connection.use.search.building import Builder, Plan
from connection.use.search.corpus import Corpus
from connection.use.search.engines import Engine, Setup, engine_room, open_engine
from connection.use.search.index import Generation, Header, generation_folder, read_header
from connection.use.search.names import ENGINES

if TYPE_CHECKING:
    from connection.use.encoding import SentenceEncoder
    from ConnectionBert import ConnectionBert


class Session:
    """The index in INDEX, and what searches in it. The encoder is loaded when it is first needed."""

    def __init__(self, settings: Settings, header: Header, prompts: tuple[str, str], load: Callable[..., ConnectionBert]):
        """header: of the index as it is, or as it will be. prompts: of queries and corpus. load: `ConnectionBert.load`."""
        self.settings, self.header, self.prompts, self._load = settings, header, prompts, load
        self.size = int(header.fingerprint["DIMENSION"])
        self.generation: Generation
        self.style = Style()  # of what is written
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine. It is opened at its first use, since milvus-lite makes files."""
        if self._engine is None:
            self._engine = open_engine(self.settings.ENGINE, self._setup)
        return self._engine

    @property
    def _setup(self) -> Setup:
        settings = self.settings
        return Setup(settings.INDEX, self.header, settings.NUMBERS, self.size, settings.MILVUS_URI, settings.THREADS)

    @cached_property
    def encode(self) -> SentenceEncoder:
        """The encoder, as a function of sentences with their prompts."""
        from connection.use.encoder import place_encoder
        from connection.use.encoding import SentenceEncoder

        encoder = place_encoder(self.settings, self._load)
        if any(self.prompts):
            query, corpus = (json.dumps(prompt, ensure_ascii=False) for prompt in self.prompts)
            print(f"Prompts: {query} before every query, {corpus} before every sentence of the corpus.")
        return SentenceEncoder(encoder, self.settings.BATCH_SIZE, self.settings.PRECISION)

    def update(self, corpus: Corpus, rows: SentenceRows) -> None:
        """Bring the index up to a corpus. Does nothing, and loads no encoder, where it is. rows: of the corpus, read once."""
        self.style = rows.style
        generation = self._current()
        builder = Builder(self.settings.INDEX, self.header, corpus, self.settings.NUMBERS, self.size)
        plan = builder.plan(generation, stored=ENGINES[self.settings.ENGINE].stored)
        print(self._plan_text(plan, builder))
        if generation is not None and builder.is_current():
            self._tidy(builder, generation)
            return
        room = replace(plan, room=plan.room + engine_room(self.settings.ENGINE, self._setup, len(corpus.keys)))
        builder.check_space(room)
        with claimed(self.settings.INDEX, "INDEX"):
            self._check_unchanged()
            builder.begin()
            print(self._cost_text(room, corpus))
            self._build(builder, plan, rows, generation)

    def _build(self, builder: Builder, plan: Plan, rows: SentenceRows, generation: Generation | None) -> None:
        again = SentenceRows(rows.path, rows.layout)
        builder.build(
            plan,
            again,
            self._encode_corpus,
            self.engine.vectors,
            lambda building, contents: self.engine.finish(building, contents, generation),
        )
        self.header = builder.header
        self.engine.use(Generation(generation_folder(self.settings.INDEX, self.header.generation)))
        self.engine.tidy()
        builder.tidy()

    def _tidy(self, builder: Builder, generation: Generation) -> None:
        """Delete what a start that was killed at its very end has left."""
        if builder.is_tidy():
            return
        with contextlib.suppress(UserMistake), claimed(self.settings.INDEX, "INDEX"):  # else it can wait
            self.engine.use(generation)
            self.engine.tidy()
            builder.tidy(unfinished=False)

    def _encode_corpus(self, sentences: Sequence[str]) -> np.ndarray:
        return self.encode.embed([self.prompts[1] + sentence for sentence in sentences])

    def _check_unchanged(self) -> None:
        """Raise UserMistake if another process has built a generation since this one has looked."""
        header = read_header(self.settings.INDEX)
        if header is not None and header.generation != self.header.generation:
            raise UserMistake(f"INDEX: another process has just written to {self.settings.INDEX}. Run the script again.")
        if header is not None:
            self.header = header

    def _current(self) -> Generation | None:
        """The generation that counts. Another process may put a newer one in its place at any moment, and delete this one."""
        while number := self.header.generation:
            try:
                generation = Generation(generation_folder(self.settings.INDEX, number))
                if generation.has_vectors:
                    _ = generation.vectors  # is opened now, and readable from now on
            except UserMistake:
                header = read_header(self.settings.INDEX)
                if header is None or header.generation == number:
                    raise
                self.header = header
            else:
                return generation
        return None

    def open(self) -> None:
        """Open the index for search. Raises UserMistake if its building was never completed."""
        generation = self._current()
        if generation is None:
            raise UserMistake(f"INDEX: the building of {self.settings.INDEX} was interrupted. Set CORPUS_FILE to complete it.")
        self.generation = generation
        self.engine.use(generation)
        text = self.engine.text()
        if text:
            print(text)

    def close(self) -> None:
        """Let go of the engine."""
        if self._engine is not None:
            self._engine.close()

    def vectors_of(self, queries: Sequence[str]) -> np.ndarray:
        """The vectors of queries, (b, H) float32 of length 1."""
        from connection.use.nearest import scale

        vectors = np.ascontiguousarray(self.encode.embed([self.prompts[0] + query for query in queries])[:, : self.size])
        scale(vectors)
        return vectors

    def _plan_text(self, plan: Plan, builder: Builder) -> str:
        corpus, count = builder.corpus, len(builder.corpus.keys)
        different = f" ({count:,} different)" if count < len(corpus.rows) else ""
        text = f"Index: {self.settings.INDEX}, {counted(len(corpus.rows), 'sentence')}{different}: "
        if builder.is_current():
            return text + "unchanged."
        parts = [f"{plan.new:,} new", f"{plan.gone:,} gone"]
        parts += [f"{plan.done:,} from an interrupted start"] if plan.done else []
        return text + ", ".join(parts) + "."

    def _cost_text(self, plan: Plan, corpus: Corpus) -> str:
        text = f"It takes {plan.room / 1e6:,.1f} MB on the disk."
        if plan.new:
            seconds = self.encode.estimate([self.prompts[1] + sentence for sentence in corpus.sample])
            text += f" Encoding takes about {format_time(seconds / len(corpus.sample) * plan.new)}."
        return text
