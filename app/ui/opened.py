"""What this server has open, once for all readers: who may see it is looked at by those who ask for it here.

Streamlit shares what is cached between all readers: it is immutable or safe to share between threads, and what depends
on the reader's groups is kept by them.
"""

from functools import cache

import streamlit as st

from app.database import Database
from app.experiment import ArmName, arm_settings
from app.resolved import parse_limits
from app.ui.person import settings
from app.wiring import build_pipeline, build_retriever, open_collection
from generator.pipeline import Pipeline
from indexer.access import Access
from indexer.collection import Collection
from indexer.parser import Parser
from indexer.store.records import DocumentInfo
from retriever.search import Retriever


@cache
def database() -> Database:
    return Database(settings().home)


@st.cache_resource(show_spinner=False)
def collection(name: str) -> Collection:
    return open_collection(settings(), name)


@st.cache_resource(show_spinner=False, max_entries=32)
def documents(name: str, access: Access, sequence: int, created_at: str) -> tuple[DocumentInfo, ...]:
    """The list as of one sequence number, for one access; the date only tells one state from another."""
    return tuple(collection(name).documents(access))


@st.cache_resource(show_spinner=False)
def retriever(name: str) -> Retriever:
    return build_retriever(settings(), collection(name), with_reranker=has_reranker())


def has_reranker() -> bool:
    return settings().retriever.reranker is not None


@st.cache_resource(show_spinner=False)
def pipeline(name: str, arm: ArmName) -> Pipeline:
    return build_pipeline(arm_settings(settings(), arm), collection(name))


@cache
def parser() -> Parser:
    return Parser(parse_limits(settings()))
