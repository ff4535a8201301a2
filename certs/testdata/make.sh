#!/bin/bash
# Makes the stores in this directory anew, as keytool and openssl write them; they are valid for a hundred years. It needs
# keytool of Java 17 and openssl 3. The stack's own way for a key store: make the key in it, have the request signed, import
# the CA's certificates and the signed one.
#
#   jdk17.*      PBES2 with AES-256, MAC SHA-256: Java 17's default
#   jdk8.*       RC2-40 and 3DES, MAC SHA-1: what Java 8 writes
#   openssl*.p12 the same two kinds, by openssl
#   unmarked.p12 a certificate that openssl put into a store: Java does not trust it
#   java.jks     Java's own format
set -euo pipefail
cd "$(dirname "$0")"
rm -f ./*.jks ./*.p12 ca.crt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
password=openbanksafe
days=36500

authority() { # name, signer or nothing
	openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"
	openssl req -new -key "$work/$1.key" -subj "/CN=fixture $1" -out "$work/$1.csr"
	if [ $# = 1 ]; then set -- "$1" "$1"; signer=(-signkey "$work/$1.key"); else signer=(-CA "$work/$2.crt" -CAkey "$work/$2.key" -CAcreateserial); fi
	openssl x509 -req -in "$work/$1.csr" "${signer[@]}" -days $days -extfile <(echo basicConstraints=critical,CA:true) -out "$work/$1.crt"
}
sign() { # csr crt
	openssl x509 -req -in "$1" -CA "$work/intermediate.crt" -CAkey "$work/intermediate.key" -CAcreateserial -days $days -extfile <(echo extendedKeyUsage=clientAuth) -out "$2"
}
authority ca
authority intermediate ca
cp "$work/ca.crt" ca.crt

for kind in jdk17 jdk8; do
	key=(keytool -keystore $kind.keystore.jks -storepass $password)
	trust=(keytool -keystore $kind.truststore.jks -storepass $password)
	if [ $kind = jdk8 ]; then key+=(-J-Dkeystore.pkcs12.legacy); trust+=(-J-Dkeystore.pkcs12.legacy); fi
	"${key[@]}" -genkeypair -storetype PKCS12 -alias command-handler -keyalg EC -groupname secp256r1 -dname CN=command-handler -validity $days
	"${key[@]}" -certreq -alias command-handler -file "$work/$kind.csr"
	sign "$work/$kind.csr" "$work/$kind.crt"
	"${key[@]}" -importcert -noprompt -alias caroot -file ca.crt
	"${key[@]}" -importcert -noprompt -alias intermediate -file "$work/intermediate.crt"
	"${key[@]}" -importcert -noprompt -alias command-handler -file "$work/$kind.crt"
	"${trust[@]}" -importcert -noprompt -storetype PKCS12 -alias caroot -file ca.crt
done

openssl ecparam -name prime256v1 -genkey -noout -out "$work/leaf.key"
openssl req -new -key "$work/leaf.key" -subj /CN=command-handler -out "$work/leaf.csr"
sign "$work/leaf.csr" "$work/leaf.crt"
pair=(openssl pkcs12 -export -inkey "$work/leaf.key" -in "$work/leaf.crt" -certfile "$work/intermediate.crt" -passout pass:$password)
"${pair[@]}" -out openssl.p12
"${pair[@]}" -legacy -out openssl-legacy.p12
openssl pkcs12 -export -nokeys -in ca.crt -passout pass:$password -out unmarked.p12
keytool -genkeypair -keystore java.jks -storetype JKS -storepass $password -keypass $password -alias command-handler -keyalg EC -groupname secp256r1 -dname CN=command-handler -validity $days
