"""Connected services as this machine plays them in development and test, each with its own manners."""

from app.clients.connections.sandbox.approving import Approval, approve, judge_question
from app.clients.connections.sandbox.asking import SandboxCaller
from app.clients.connections.sandbox.playing import SandboxAnswer, SandboxRequest, answer
from app.clients.connections.sandbox.secrets import BEHAVIOURS, SANDBOX_CLIENT, forget_everything

__all__ = [
    "BEHAVIOURS",
    "SANDBOX_CLIENT",
    "Approval",
    "SandboxAnswer",
    "SandboxCaller",
    "SandboxRequest",
    "answer",
    "approve",
    "forget_everything",
    "judge_question",
]
