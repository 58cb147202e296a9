"""Makes ``twistd mmr`` known. Imports nothing of the package itself."""

from twisted.application.service import ServiceMaker

mmr = ServiceMaker("mmr", "mmr.tap", "Matrix media repository server.", "mmr")
